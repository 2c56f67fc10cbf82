# Functions that run checks, count them, and report the failed ones. Sourced by the other files.

passed=0
failed=0
failures=()
# failed tests that passed when their files ran once more
repeated=()
# what the failed tests printed, up to this many lines before each, and some after it
details=$(mktemp)
detail_lines=25
# of a test that runs once more
test_timeout_ms=60000

# step NAME COMMAND...: runs a command that counts as one check
step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  if "$@"; then
    passed=$((passed + 1))
    printf '== %s: %d s\n' "$name" $((SECONDS - start))
  else
    failed=$((failed + 1))
    failures+=("$name")
    printf '== FAILED: %s\n' "$name"
    return 1
  fi
}

# suite NAME TARGET COMMAND...: runs a test suite against a target; each test counts. The files of failed tests run once
# more, without other tests beside them: on a busy machine, time can run out for a test that waits. Tests that pass then
# count as passed, and are named at the end.
suite() {
  local name=$1 target=$2 start=$SECONDS log pass fail status first_failures=() files=()
  shift 2
  log=$(mktemp)
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log" | grep -v '^(pass)'
  status=${PIPESTATUS[0]}
  count_tests
  if [ "$fail" -gt 0 ] && [ "$pass" -gt 0 ]; then
    keep_details
    mapfile -t first_failures < <(failed_tests)
    mapfile -t files < <(awk '/^[0-9]+ tests? failed:$/ { exit } /^tests\/.*\.test\.ts:$/ { file = substr($0, 1, length($0) - 1) } /^\(fail\)/ { print file }' "$log" | sort -u)
    local first_pass=$pass first_fail=$fail
    printf '\n== %s, once more: %s\n' "$name" "${files[*]}"
    env RAWLOG_TARGET="$target" npx bun test --timeout "$test_timeout_ms" "${files[@]}" 2>&1 | tee "$log" | grep -v '^(pass)'
    status=${PIPESTATUS[0]}
    count_tests
    if [ "$fail" -eq 0 ] && [ "$status" -eq 0 ]; then
      repeated+=("${first_failures[@]/#/$name: }")
      fail=0
      pass=$((first_pass + first_fail))
    else
      pass=$((first_pass + first_fail - fail))
    fi
  fi
  # a run that crashes or finds no tests also counts as a failure
  if [ "$fail" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$pass" -eq 0 ]; }; then
    fail=1
    failures+=("$name: exit status $status after $pass tests")
  elif [ "$fail" -gt 0 ]; then
    keep_details
    while IFS= read -r test; do failures+=("$name: $test"); done < <(failed_tests)
  fi
  rm -f "$log"
  passed=$((passed + pass))
  failed=$((failed + fail))
  printf '== %s: %d passed, %d failed, %d s\n' "$name" "$pass" "$fail" $((SECONDS - start))
}

# The following use the variables of suite.

count_tests() {
  pass=$(grep -oE '^ *[0-9]+ pass$' "$log" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
  fail=$(grep -oE '^ *[0-9]+ fail$' "$log" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
}

failed_tests() {
  grep '^(fail)' "$log" | sed 's/^(fail) //' | sort -u
}

keep_details() {
  # bun names a failed test where it ran, and again at the end
  grep -n -m 8 -B "$detail_lines" -A 12 '^(fail)' <(sed '/^[0-9]* tests* failed:$/,$d' "$log") | grep -v '(pass)' >>"$details"
}

finish() {
  cat "$details"
  if [ ${#repeated[@]} -gt 0 ]; then
    printf '\nFailed at first, and passed once more:\n'
    printf '  %s\n' "${repeated[@]}"
  fi
  if [ "$failed" -gt 0 ]; then
    printf '\nFailed:\n'
    printf '  %s\n' "${failures[@]}"
  fi
  rm -f "$details"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
