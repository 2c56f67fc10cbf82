# Functions that run checks, count them, and report the failed ones. Sourced by the other files.

passed=0
failed=0
failures=()
# what the failed tests printed, up to this many lines before each
details=$(mktemp)
detail_lines=25

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

# suite NAME COMMAND...: runs a test suite; each test counts
suite() {
  local name=$1 start=$SECONDS log test
  shift
  log=$(mktemp)
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log" | grep -v '^(pass)'
  local status=${PIPESTATUS[0]}
  local pass fail
  pass=$(grep -oE '^ *[0-9]+ pass$' "$log" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
  fail=$(grep -oE '^ *[0-9]+ fail$' "$log" | tail -n 1 | grep -oE '[0-9]+' || echo 0)
  while IFS= read -r test; do failures+=("$name: ${test#(fail) }"); done < <(grep '^(fail)' "$log" | sort -u)
  # bun names a failed test where it ran, and again at the end
  grep -n -m 8 -B "$detail_lines" '^(fail)' <(sed '/^[0-9]* tests* failed:$/,$d' "$log") | grep -v '(pass)' >>"$details"
  rm -f "$log"
  # a run that crashes or finds no tests also counts as a failure
  if [ "$fail" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$pass" -eq 0 ]; }; then
    fail=1
    failures+=("$name: exit status $status after $pass tests")
  fi
  passed=$((passed + pass))
  failed=$((failed + fail))
  printf '== %s: %d passed, %d failed, %d s\n' "$name" "$pass" "$fail" $((SECONDS - start))
}

finish() {
  if [ "$failed" -gt 0 ]; then
    cat "$details"
    printf '\nFailed:\n'
    printf '  %s\n' "${failures[@]}"
  fi
  rm -f "$details"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
