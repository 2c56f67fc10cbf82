CREATE TABLE `deletions` (
	`id` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`filter` text,
	`cutoff_seq` integer NOT NULL,
	`requested_at` integer NOT NULL,
	`is_overwritten` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `properties` (
	`id` integer PRIMARY KEY NOT NULL,
	`series_id` integer NOT NULL,
	`path` text,
	`used_at` integer NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `property_columns` (
	`id` integer PRIMARY KEY NOT NULL,
	`property_id` integer NOT NULL,
	`chunk_id` integer NOT NULL,
	`chunk_checksum` integer NOT NULL,
	`checksum` integer NOT NULL,
	`codes` blob NOT NULL,
	`values` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `property_columns_chunk` ON `property_columns` (`chunk_id`,`property_id`) WHERE chunk_id > 0;--> statement-breakpoint
ALTER TABLE `chunks` ADD `seqs` blob DEFAULT x'' NOT NULL;--> statement-breakpoint
-- Existing chunks lack `seqs`: they are rebuilt from the rows after this migration.
UPDATE `column_state` SET `value` = 0 WHERE `name` IN ('metric', 'analytics') AND EXISTS (SELECT 1 FROM `chunks`);--> statement-breakpoint
INSERT OR REPLACE INTO `column_state` (`name`, `value`) SELECT 'rebuilding', 1 WHERE EXISTS (SELECT 1 FROM `chunks`);--> statement-breakpoint
DELETE FROM `sealed_series`;
