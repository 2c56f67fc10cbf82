CREATE TABLE `record_sources` (
	`id` integer PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL,
	`source_hash` integer NOT NULL,
	`source_id` text,
	`forms` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `record_sources_seq` ON `record_sources` (`seq`) WHERE source_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX `record_sources_hash` ON `record_sources` (`source_hash`) WHERE source_id IS NOT NULL;