CREATE TABLE `chunks` (
	`id` integer PRIMARY KEY NOT NULL,
	`series_id` integer NOT NULL,
	`rows` integer NOT NULL,
	`min_time` integer NOT NULL,
	`max_time` integer NOT NULL,
	`times` blob NOT NULL,
	`users` blob NOT NULL,
	`labels` blob NOT NULL,
	`values` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `chunks_series` ON `chunks` (`series_id`,`min_time`,`max_time`,`rows`);--> statement-breakpoint
CREATE TABLE `labels` (
	`id` integer PRIMARY KEY NOT NULL,
	`series_id` integer NOT NULL,
	`label` text NOT NULL
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `labels_series_label` ON `labels` (`series_id`,`label`);--> statement-breakpoint
CREATE TABLE `series` (
	`id` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`name` text NOT NULL
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `series_kind_name` ON `series` (`kind`,`name`);--> statement-breakpoint
CREATE TABLE `users` (
	`id` integer PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `users_user_id` ON `users` (`user_id`);--> statement-breakpoint
CREATE TABLE `watermarks` (
	`kind` text PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL
) STRICT;
