CREATE TABLE `imported_rows` (
	`id` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`seqs` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `sink_erasures` (
	`id` integer PRIMARY KEY NOT NULL,
	`sink_id` integer NOT NULL,
	`user_id` text,
	`cutoff_seq` integer NOT NULL,
	`requested_at` integer NOT NULL,
	`is_overwritten` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `sink_erasures_pending` ON `sink_erasures` (`sink_id`) WHERE is_overwritten = 0;--> statement-breakpoint
CREATE TABLE `sink_rows` (
	`sink_id` integer NOT NULL,
	`kind` text NOT NULL,
	`seq` integer NOT NULL,
	`reason` text NOT NULL,
	`at` integer NOT NULL,
	`attempts` integer NOT NULL,
	`next_at` integer,
	PRIMARY KEY(`sink_id`, `kind`, `seq`)
) STRICT;
--> statement-breakpoint
CREATE TABLE `sinks` (
	`id` integer PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`metric_seq` integer NOT NULL,
	`analytics_seq` integer NOT NULL,
	`import_id` integer NOT NULL,
	`skipped` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `sinks_name` ON `sinks` (`name`);
