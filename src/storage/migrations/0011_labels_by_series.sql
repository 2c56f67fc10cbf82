DROP INDEX `labels_hash`;--> statement-breakpoint
DROP INDEX `labels_series`;--> statement-breakpoint
CREATE INDEX `labels_series_hash` ON `labels` (`series_id`,`hash`);