CREATE TABLE `chunk_summaries` (
	`chunk_id` integer PRIMARY KEY NOT NULL,
	`checksum` integer NOT NULL,
	`quarters_checksum` integer NOT NULL,
	`quarters` blob NOT NULL,
	`hours` blob NOT NULL,
	`sorted` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `user_rows` (
	`id` integer PRIMARY KEY NOT NULL,
	`shard` integer NOT NULL,
	`rows` integer NOT NULL,
	`checksum` integer NOT NULL,
	`users` blob NOT NULL,
	`seqs` blob NOT NULL
) STRICT;
--> statement-breakpoint
CREATE INDEX `user_rows_shard` ON `user_rows` (`shard`) WHERE rows > 0;--> statement-breakpoint
-- Existing chunks lack both: they are rebuilt from the rows after this migration.
UPDATE `column_state` SET `value` = 0 WHERE `name` IN ('metric', 'analytics') AND EXISTS (SELECT 1 FROM `chunks`);--> statement-breakpoint
INSERT OR REPLACE INTO `column_state` (`name`, `value`) SELECT 'rebuilding', 1 WHERE EXISTS (SELECT 1 FROM `chunks`);--> statement-breakpoint
DELETE FROM `sealed_series`;
