-- Metrics like those that products send, one a request or a batch of them. The environment says how:
--   TOKEN  for the Authorization header
--   ROWS   metrics of a batch; 0: a single one
--   PAUSE  mean pause between an answer and the next request, in milliseconds; 0: none
-- wrk calls done() once, and the bench reads its one line.
local rows = tonumber(os.getenv("ROWS") or "0")
local pause = tonumber(os.getenv("PAUSE") or "0")
local metric = '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'

wrk.method = "POST"
wrk.body = rows == 0 and metric or '{"metrics":[' .. metric .. (',' .. metric):rep(rows - 1) .. ']}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "")

-- wrk looks whether there is such a function
if pause > 0 then
  function delay()
    return math.floor(math.random() * 2 * pause + 0.5)
  end
end

function done(summary, latency)
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f,"refused":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  ))
end
