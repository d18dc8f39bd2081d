# Counting for scripts/test; sourced. Each test is a line "PASSED FAILED" of $COUNTS, so that stages may run side by side.
# shellcheck shell=bash
COUNTS=$(mktemp)

# counted NAME SECONDS PASSED FAILED LOG: the line for it, with the end of the log if anything failed
counted() {
    echo "$3 $4" >>"$COUNTS"
    local result=ok
    [ "$3 $4" = "1 0" ] || result="$3 passed, $4 failed"
    [ "$3 $4" != "0 1" ] || result=FAILED
    local line="$1 ... $result ($2 s)"
    [ "$4" = 0 ] || line+=$'\n'$(tail -n 200 "$5")
    printf '%s\n' "$line"
}

# check NAME COMMAND...: one test, whose status it returns; the output is shown if it fails, or with VERBOSE=1
check() {
    local name=$1 start=$SECONDS log status=0
    shift
    log=$(mktemp)
    if { if [ -n "${VERBOSE:-}" ]; then "$@" 2>&1 | tee "$log"; else "$@" >"$log" 2>&1; fi; }; then
        counted "$name" $((SECONDS - start)) 1 0
    else
        status=1
        [ -z "${VERBOSE:-}" ] || : >"$log"
        counted "$name" $((SECONDS - start)) 0 1 "$log"
    fi
    rm -f "$log"
    return $status
}

# cargo_tests NAME ARGUMENT...: `cargo test`, every test counted; a build that fails counts as one failure
cargo_tests() {
    local name=$1 start=$SECONDS log good bad status=0
    shift
    log=$(mktemp)
    cargo test --no-fail-fast "$@" >"$log" 2>&1 || status=$?
    good=$(awk '/^test result: /{ n += $4 } END { print n + 0 }' "$log")
    bad=$(awk '/^test result: /{ n += $6 } END { print n + 0 }' "$log")
    [ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
    sed -i -E '/^test .* \.\.\. (ok|ignored)|^ *(Compiling|Downloaded|Running|Finished)|^$|^running /d' "$log"
    counted "$name" $((SECONDS - start)) "$good" "$bad" "$log"
    rm -f "$log"
}

# summary: the line that CI reads, and the exit status
summary() {
    awk '{ passed += $1; failed += $2 } END { print passed + 0 " passed, " failed + 0 " failed"; exit !(passed && !failed) }' "$COUNTS"
}
