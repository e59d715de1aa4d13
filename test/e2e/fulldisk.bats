#!/usr/bin/env bats
# fulldisk.bats - the disk of a cell is full: its masters end, status says why, and with room again
# `cell up` brings all back.
load lib.bash

setup_file()
{
    [[ $EUID -eq 0 ]] || return 0 # only root mounts
    export DISK="$BATS_FILE_TMPDIR/disk"
    mkdir "$DISK"
    mount -t tmpfs -o size=200m tmpfs "$DISK" || return 0
    export BORG_E2E_DIR="$DISK"
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    [[ -n "${DISK:-}" ]] && mountpoint -q "$DISK" || return 0
    cell_away
    umount "$DISK"
}

masters_have_ended()
{
    local pid
    for pid in $(cut -d' ' -f1 "$BORG_CELL"/run/master*.pid); do
        is_gone "$pid" || return 1
    done
}

@test "all masters end when the disk is full, and status says why" {
    [[ -n "${BORG_CELL:-}" ]] || skip "only root can mount a small disk"
    wait_until 20 replicas_agree 3
    submit kept 200 1 10m 'exec sleep 1000'
    wait_until 20 job_runs kept 1
    dd if=/dev/zero of="$DISK/filler" bs=1M count=500 status=none || true
    wait_until 20 masters_have_ended
    expect_exit 3 borgctl cell status
    expect_text 'replica 1 .* has ended: .*(free|full|space)'
    expect_text 'mend that, then `borgctl cell up`'
}

@test "with room again all come back, with everything" {
    [[ -n "${BORG_CELL:-}" ]] || skip "only root can mount a small disk"
    rm "$DISK/filler"
    cell_up
    wait_until 20 replicas_agree 3
    wait_until 20 job_runs kept 1
    expect_exit 6 borgctl cell status # the disk is small
    ! grep -q 'has ended' <<<"$output"
}
