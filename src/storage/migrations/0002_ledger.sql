CREATE TABLE `ledger` (
	`name` text PRIMARY KEY NOT NULL,
	`items` integer NOT NULL
) STRICT;
