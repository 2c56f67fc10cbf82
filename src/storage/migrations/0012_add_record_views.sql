CREATE VIEW `event_records` AS SELECT seq,
  iif(length(id) = 10, printf('%08x-%04x-7%03x-%04x-%04x%08x', millisecond >> 16, millisecond & 65535, seq % 4096,
    high >> 16, high & 65535, low), id) AS id,
  user_id,
  (happened_at + iif(length(id) = 10, (seq / 4096 + 1577836800000) * 1000, 0)) AS happened_at,
  (received_at + iif(length(id) = 10, (seq / 4096 + 1577836800000) * 1000, 0)) AS received_at,
  type, data_index, data
FROM (SELECT *, (seq / 4096 + 1577836800000) AS millisecond,
  ((((unicode(substr(id, 1, 1)) - 33) * 85 + unicode(substr(id, 2, 1)) - 33) * 85 + unicode(substr(id, 3, 1)) - 33) * 85 + unicode(substr(id, 4, 1)) - 33) * 85 + unicode(substr(id, 5, 1)) - 33 AS high,
  ((((unicode(substr(id, 6, 1)) - 33) * 85 + unicode(substr(id, 7, 1)) - 33) * 85 + unicode(substr(id, 8, 1)) - 33) * 85 + unicode(substr(id, 9, 1)) - 33) * 85 + unicode(substr(id, 10, 1)) - 33 AS low
FROM analytics WHERE user_id <> '');--> statement-breakpoint
CREATE VIEW `metric_records` AS SELECT seq,
  iif(length(id) = 10, printf('%08x-%04x-7%03x-%04x-%04x%08x', millisecond >> 16, millisecond & 65535, seq % 4096,
    high >> 16, high & 65535, low), id) AS id,
  user_id,
  (happened_at + iif(length(id) = 10, (seq / 4096 + 1577836800000) * 1000, 0)) AS happened_at,
  (received_at + iif(length(id) = 10, (seq / 4096 + 1577836800000) * 1000, 0)) AS received_at,
  metric_name, metric_value, data_string
FROM (SELECT *, (seq / 4096 + 1577836800000) AS millisecond,
  ((((unicode(substr(id, 1, 1)) - 33) * 85 + unicode(substr(id, 2, 1)) - 33) * 85 + unicode(substr(id, 3, 1)) - 33) * 85 + unicode(substr(id, 4, 1)) - 33) * 85 + unicode(substr(id, 5, 1)) - 33 AS high,
  ((((unicode(substr(id, 6, 1)) - 33) * 85 + unicode(substr(id, 7, 1)) - 33) * 85 + unicode(substr(id, 8, 1)) - 33) * 85 + unicode(substr(id, 9, 1)) - 33) * 85 + unicode(substr(id, 10, 1)) - 33 AS low
FROM metrics WHERE user_id <> '');