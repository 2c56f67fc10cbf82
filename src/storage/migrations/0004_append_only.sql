-- The column store is derived: it is rebuilt from the rows after this migration.
DROP TABLE `chunks`;--> statement-breakpoint
DROP TABLE `labels`;--> statement-breakpoint
DROP TABLE `series`;--> statement-breakpoint
DROP TABLE `users`;--> statement-breakpoint
DROP TABLE `watermarks`;--> statement-breakpoint
CREATE TABLE `cached_responses` (
	`id` integer PRIMARY KEY NOT NULL,
	`key_hash` integer NOT NULL,
	`user_id` text,
	`route` text,
	`key` text,
	`fingerprint` text,
	`response` text,
	`seq` integer NOT NULL,
	`created_at` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `cached_responses_key_hash` ON `cached_responses` (`key_hash`) WHERE key IS NOT NULL;--> statement-breakpoint
CREATE TABLE `chunks` (
	`id` integer PRIMARY KEY NOT NULL,
	`series_id` integer NOT NULL,
	`rows` integer NOT NULL,
	`min_time` integer NOT NULL,
	`max_time` integer NOT NULL,
	`checksum` integer NOT NULL,
	`times` blob NOT NULL,
	`users` blob NOT NULL,
	`labels` blob NOT NULL,
	`values` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `chunks_series` ON `chunks` (`series_id`,`min_time`,`max_time`,`rows`) WHERE rows > 0;--> statement-breakpoint
CREATE TABLE `column_state` (
	`name` text PRIMARY KEY NOT NULL,
	`value` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `erasures` (
	`id` integer PRIMARY KEY NOT NULL,
	`user_hash` blob NOT NULL,
	`cutoff_seq` integer NOT NULL,
	`requested_at` integer NOT NULL,
	`pending_user_id` text,
	`user_number` integer,
	`is_overwritten` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `erasures_user_hash` ON `erasures` (`user_hash`);--> statement-breakpoint
CREATE TABLE `labels` (
	`id` integer PRIMARY KEY NOT NULL,
	`series_id` integer NOT NULL,
	`label` text,
	`hash` integer
) STRICT;
--> statement-breakpoint
CREATE INDEX `labels_hash` ON `labels` (`hash`);--> statement-breakpoint
CREATE INDEX `labels_series` ON `labels` (`series_id`);--> statement-breakpoint
CREATE TABLE `sealed_series` (
	`series_id` integer PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `series` (
	`id` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`name` text
) STRICT;
--> statement-breakpoint
CREATE TABLE `user_names` (
	`user_hash` integer NOT NULL,
	`name_hash` integer NOT NULL,
	PRIMARY KEY(`user_hash`, `name_hash`)
) STRICT, WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `user_series` (
	`user` integer NOT NULL,
	`series_id` integer NOT NULL,
	PRIMARY KEY(`user`, `series_id`)
) STRICT, WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `users` (
	`id` integer PRIMARY KEY NOT NULL,
	`user_id` text,
	`hash` integer
) STRICT;
--> statement-breakpoint
CREATE INDEX `users_hash` ON `users` (`hash`);--> statement-breakpoint
-- Negative hashes are placeholders as wide as real ones: opening the database replaces them.
INSERT INTO `cached_responses` (`id`, `key_hash`, `user_id`, `route`, `key`, `fingerprint`, `response`, `seq`, `created_at`)
SELECT n, -(n + 281474976710656), `user_id`, `route`, `key`, `fingerprint`, `answer`, 0, `created_at`
FROM (SELECT row_number() OVER (ORDER BY `created_at`) AS n, * FROM `answers`);--> statement-breakpoint
DROP TABLE `answers`;--> statement-breakpoint
-- Erasures so far: the ledger balances only if they are counted.
INSERT INTO `ledger` (`name`, `items`)
SELECT 'deleted', `items` - (SELECT count(*) FROM `metrics`) - (SELECT count(*) FROM `analytics`)
FROM `ledger` WHERE `name` = 'stored' AND `items` > (SELECT count(*) FROM `metrics`) + (SELECT count(*) FROM `analytics`);
