# Counting for scripts/test; sourced.
# shellcheck shell=bash
passed=0 failed=0

# check NAME COMMAND...: one test, whose status it returns; the output is shown if it fails, or with VERBOSE=1
check() {
    local name=$1 start=$SECONDS log status=0
    shift
    log=$(mktemp)
    printf '%s ... ' "$name"
    if { if [ -n "${VERBOSE:-}" ]; then "$@" 2>&1 | tee "$log"; else "$@" >"$log" 2>&1; fi; }; then
        passed=$((passed + 1))
        echo "ok ($((SECONDS - start)) s)"
    else
        status=1
        failed=$((failed + 1))
        echo "FAILED ($((SECONDS - start)) s)"
        [ -n "${VERBOSE:-}" ] || tail -n 200 "$log"
    fi
    rm -f "$log"
    return $status
}

# cargo_tests NAME ARGUMENT...: `cargo test`, every test counted; a build that fails counts as one failure
cargo_tests() {
    local name=$1 start=$SECONDS log good bad status=0
    shift
    log=$(mktemp)
    printf '%s ... ' "$name"
    cargo test --no-fail-fast "$@" >"$log" 2>&1 || status=$?
    good=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$log" | paste -sd+ | bc)
    bad=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$log" | paste -sd+ | bc)
    good=${good:-0} bad=${bad:-0}
    [ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$good passed, $bad failed ($((SECONDS - start)) s)"
    [ "$bad" = 0 ] || grep -vE '^test .* \.\.\. (ok|ignored)|^ *(Compiling|Downloaded|Running|Finished)|^$|^running ' "$log" | tail -n 200 || true
    rm -f "$log"
}

# summary: the line that CI reads, and the exit status
summary() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed -gt 0 ]
}
