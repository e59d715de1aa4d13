#!/usr/bin/env bats
# hostile.bats - wrong certificates, garbage and floods on every port: refused, logged and survived.
load lib.bash

DENIED=5
CORRUPT=11

setup_file()
{
    cell_up --replicas 3 --borglets 2
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    submit steady 200 2 50m 'echo steady; exec sleep 1000'
    wait_until 20 job_runs steady 2
    running_tasks >"$SPECS/before"
    pids_of_programs >"$SPECS/programs"
    mkdir -p "$SPECS/foreign"
    "$TOOLS/frames" pki "$SPECS/foreign" user-mallory user/root
}

teardown_file()
{
    cell_away
}

# Print every address of the cell: "rpc 127.0.0.1:1234".
ports()
{
    jq -r '.replicas[] | "rpc \(.rpc)", "raft \(.raft)"' "$BORG_CELL/cell.json"
    ask "SELECT 'borglet', addr FROM machines" | tr '\t' ' '
}

rpc_port()
{
    jq -r '.replicas[0].rpc' "$BORG_CELL/cell.json"
}

logged() # REGEX
{
    grep -rqE --include='*.log' -- "$1" "$BORG_CELL" && return
    echo "no log has a line matching: $1"
    return 1
}

# tls ADDR CERT MODE: connect with the certificate PKI/CERT.crt.
tls()
{
    "$TOOLS/frames" tls "$1" "$PKI/ca.crt" "$PKI/$2.crt" "$PKI/$2.key" "$3" 8
}

call() # CERT METHOD BODY
{
    "$TOOLS/frames" call "$(rpc_port)" "$PKI/ca.crt" "$PKI/$1.crt" "$PKI/$1.key" "$2" "$3"
}

setup()
{
    PKI="$BORG_CELL/pki"
    USER_CERT="user-$(id -un)"
    BORGLET_CERT="borglet-m1"
}

@test "there are eight ports to try" {
    same "ports" 8 "$(ports | sort -u | wc -l)"
}

@test "a client without a certificate is refused on every port" {
    while read -r kind address; do
        output="$("$TOOLS/frames" tls "$address" "$PKI/ca.crt" - - silence 8)"
        echo "$kind $address: $output"
        expect_text '^(refused: .*ertificate|closed)'
    done < <(ports)
}

@test "a certificate of a foreign CA is refused on every port" {
    while read -r kind address; do
        output="$("$TOOLS/frames" tls "$address" "$PKI/ca.crt" "$SPECS/foreign/user-mallory.crt" \
            "$SPECS/foreign/user-mallory.key" silence 8)"
        echo "$kind $address: $output"
        expect_text '^(refused|closed)'
    done < <(ports)
}

@test "borgctl with a foreign certificate reports it" {
    mkdir -p "$SPECS/fake"
    cp -r "$BORG_CELL/cell.json" "$PKI" "$SPECS/fake/"
    cp "$SPECS/foreign/user-mallory.crt" "$SPECS/fake/pki/user-mallory.crt"
    cp "$SPECS/foreign/user-mallory.key" "$SPECS/fake/pki/user-mallory.key"
    expect_exit 3 borgctl --cell "$SPECS/fake" --user mallory --timeout 3 jobs
    expect_text 'Access was denied'
}

@test "a borglet's certificate cannot act as a user" {
    output="$(call "$BORGLET_CERT" 1 90)"
    expect_text "^answer $DENIED .+"
    output="$(call "$BORGLET_CERT" 2 90)"
    expect_text "^answer $DENIED .+"
}

@test "a user's certificate cannot act as a borglet or a master" {
    local method
    for method in 20 10; do
        output="$(call "$USER_CERT" "$method" 90)"
        expect_text "^answer $DENIED .+"
    done
    output="$(tls "$(jq -r '.replicas[0].raft' "$BORG_CELL/cell.json")" "$USER_CERT" garbage)"
    expect_text '^(refused|closed)'
}

@test "a malformed body or an unknown method is answered with an error" {
    output="$(call "$USER_CERT" 1 c1c1c1c1)"
    expect_text "^answer $CORRUPT .+"
    output="$(call "$USER_CERT" 2 93ffffff)"
    expect_text "^answer $CORRUPT .+"
    output="$(call "$USER_CERT" 9999 90)"
    expect_text "^answer [1-9][0-9]* .+"
}

# Print the peak memory of all masters and borglets, in kB.
memory_peak()
{
    local pid
    for pid in $(pids_of_programs); do
        awk '/^VmHWM:/ { print $2 }' "/proc/$pid/status"
    done | sort -n | tail -1
}

@test "a message of 100 MB is rejected by its header and takes no memory" {
    local kind address before
    before="$(memory_peak)"
    while read -r kind address; do
        output="$(tls "$address" "$USER_CERT" big)"
        echo "$kind $address: $output"
        expect_text '^(refused|closed)'
    done < <(ports)
    (($(memory_peak) - before < 30000))
    logged 'frame of 104857600 bytes'
}

@test "garbage inside TLS closes the connection" {
    output="$(tls "$(rpc_port)" "$USER_CERT" garbage)"
    expect_text '^(refused|closed)'
}

@test "garbage and 100 MB without TLS close the connection, on every port" {
    while read -r kind address; do
        for mode in garbage big; do
            output="$("$TOOLS/frames" raw "$address" "$mode" 8)"
            echo "$kind $address $mode: $output"
            expect_text '^closed'
        done
    done < <(ports)
}

@test "200 silent connections are closed in time, on every port" {
    local kind address pids=() pid
    while read -r kind address; do
        "$TOOLS/frames" flood "$address" 200 12 >"$SPECS/flood.$kind.${address##*:}" &
        pids+=($!)
    done < <(ports)
    borgctl jobs
    for pid in "${pids[@]}"; do
        wait "$pid"
    done
    same "floods" "closed 200 of 200" "$(cat "$SPECS"/flood.* | sort -u)"
}

@test "a half-sent frame affects no other connection" {
    tls "$(rpc_port)" "$USER_CERT" half >"$SPECS/half" &
    local pid=$!
    submit meanwhile 100 1 10m 'exit 0'
    wait_until 20 job_is meanwhile finished
    wait "$pid"
}

@test "refusals are logged with peer and reason" {
    logged 'stream\.refused.* peer=.* reason='
    logged 'rpc\.denied peer=borglet/m1 .*method=command'
}

@test "the cell still has the same processes, tasks and content" {
    same "programs" "$(cat "$SPECS/programs")" "$(pids_of_programs)"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    wait_until 20 replicas_agree 3
}
