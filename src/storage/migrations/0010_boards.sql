CREATE TABLE `annotations` (
	`id` integer PRIMARY KEY NOT NULL,
	`annotation_id` text,
	`at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`author` text,
	`url` text,
	`text` text
) STRICT;
--> statement-breakpoint
CREATE TABLE `board_links` (
	`id` integer PRIMARY KEY NOT NULL,
	`link_id` text,
	`hash` blob,
	`board_id` text,
	`creator` text,
	`is_for_all` integer NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `board_links_hash` ON `board_links` (`hash`) WHERE hash IS NOT NULL;--> statement-breakpoint
CREATE TABLE `boards` (
	`id` integer PRIMARY KEY NOT NULL,
	`board_id` text,
	`owner` text,
	`scope` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`filtered_users` text,
	`chart_count` integer NOT NULL,
	`name` text NOT NULL,
	`charts` text NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `boards_board_id` ON `boards` (`board_id`) WHERE board_id IS NOT NULL;--> statement-breakpoint
CREATE TABLE `metric_units` (
	`id` integer PRIMARY KEY NOT NULL,
	`unit` text NOT NULL,
	`better` text,
	`name` text
) STRICT;
