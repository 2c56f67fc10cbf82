-- Sends typical metrics, one per request or in batches. Environment variables:
--   TOKEN     token for the Authorization header
--   ROWS      metrics per batch; 0: a single metric
--   PAUSE_MS  mean pause between a response and the next request, in milliseconds; 0: none
-- At the end wrk calls done(), which prints one line for load.ts.
local rows = tonumber(os.getenv("ROWS") or "0")
local pause_ms = tonumber(os.getenv("PAUSE_MS") or "0")
local metric = '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'

wrk.method = "POST"
wrk.body = rows == 0 and metric or '{"metrics":[' .. metric .. (',' .. metric):rep(rows - 1) .. ']}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "")

-- wrk delays requests only if this function exists
if pause_ms > 0 then
  function delay()
    return math.floor(math.random() * 2 * pause_ms + 0.5)
  end
end

function done(summary, latency)
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f,"max":%.3f,"rejected":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  ))
end
