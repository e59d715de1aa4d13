#!/usr/bin/env bats
# fulldisk.bats - the disk of a cell is full: its masters end and status reports why; with free
# space `cell up` brings all of them back. Root mounts a small disk and fills it. An ordinary user
# limits the size of files for masters of his own: those end that have something to write, which is
# at least all but one, because nothing is written without a majority.
load lib.bash

setup_file()
{
    if [[ $EUID -eq 0 ]]; then
        export DISK="$BATS_FILE_TMPDIR/disk"
        mkdir "$DISK"
        mount -t tmpfs -o size=200m tmpfs "$DISK"
        export BORG_E2E_DIR="$DISK"
    fi
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
    [[ -z "${DISK:-}" ]] || umount "$DISK"
}

pids_of_masters()
{
    cut -d' ' -f1 "$BORG_CELL"/run/master*.pid
}

masters_have_ended()
{
    local pid left=0
    for pid in $(pids_of_masters); do
        is_gone "$pid" || left=$((left + 1))
    done
    ((left == 0)) || [[ -z "${DISK:-}" && $left -eq 1 ]]
}

no_room()
{
    local pid
    if [[ -n "${DISK:-}" ]]; then
        dd if=/dev/zero of="$DISK/filler" bs=1M count=500 status=none || true
        return
    fi
    for pid in $(pids_of_masters); do
        prlimit --pid "$pid" --fsize=65536:
    done
    # This causes a write, whatever its outcome.
    borgctl --timeout 10 submit "$(spec refused 200 1 10m 'exit 0')" || true
}

room_again()
{
    local pid
    if [[ -n "${DISK:-}" ]]; then
        rm "$DISK/filler"
        return
    fi
    for pid in $(pids_of_masters); do
        prlimit --pid "$pid" --fsize=unlimited: || is_gone "$pid"
    done
}

why_ended()
{
    if [[ -n "${DISK:-}" ]]; then
        echo 'replica 1 .* has ended: .*(free|full|space)'
    else
        echo 'replica [123] .* has ended: (cannot write the database|.*space)'
    fi
}

status_says() # REGEX
{
    borgctl cell status | grep -E -- "$1"
}

@test "all masters end when the disk is full, and status reports why" {
    wait_until 60 replicas_agree 3
    submit kept 200 1 10m 'exec sleep 1000'
    wait_until 60 job_runs kept 1
    no_room
    wait_until 60 masters_have_ended
    # A process that is ending may reset one more connection.
    wait_until 60 status_says "$(why_ended)"
    expect_exit 3 borgctl cell status
    expect_text 'correct this, then `borgctl cell up`'
}

@test "with free space all masters return with all data" {
    room_again
    cell_up
    wait_until 60 replicas_agree 3
    wait_until 60 job_runs kept 1
    [[ -z "${DISK:-}" ]] || expect_exit 6 borgctl cell status # the disk is too small for status
    [[ -n "${DISK:-}" ]] || wait_until 20 borgctl cell status
    fails grep 'has ended' <<<"$(borgctl cell status)"
}
