# lib.bash - functions of all stories: start a cell, wait with a deadline, query, compare.
#
# A story is a file: setup_file starts its cell, the tests run in order, teardown_file removes the
# cell. Stories run in parallel and share nothing.
# shellcheck shell=bash

ROOT="$(readlink -f "$BATS_TEST_DIRNAME/../..")"
BUILD="$(readlink -f "${BORG_BUILD:-$ROOT/build}")"
# shellcheck disable=SC2034 # used by the stories
TOOLS="$BUILD/test/e2e"

# Close the descriptors of bats: processes that outlive the call would keep them open.
borgctl()
{
    "$BUILD/borgctl" "$@" </dev/null 3>&- 4>&- 5>&- 6>&-
}

# --- the cell ------------------------------------------------------------------------------------

# Start the story's cell, with these arguments for `cell up`. Two new cells that look for free ports
# at the same moment may choose the same ones; this one then tries once more.
cell_up()
{
    local base="${BORG_E2E_DIR:-$BATS_FILE_TMPDIR}" is_new=""
    export BORG_CELL="$base/cell" SPECS="$base/specs"
    mkdir -p "$SPECS"
    [[ -d "$BORG_CELL" ]] || is_new=1
    cell_up_once "$@" && return
    if [[ -n "$is_new" ]] &&
        grep -qE 'address already in use|used by another process' "$SPECS/up.out"; then
        cell_away || true
        cell_up_once "$@" && return
    fi
    cat "$SPECS/up.out"
    last_logs
    return 1
}

cell_up_once()
{
    timeout -k 5 180 "$BUILD/borgctl" cell up --dir "$BORG_CELL" "$@" \
        </dev/null >"$SPECS/up.out" 2>&1 3>&- 4>&- 5>&- 6>&-
}

# Remove the cell; kill and report every process that is left.
cell_away()
{
    local rc=0 pid left
    timeout -k 5 180 "$BUILD/borgctl" cell down --dir "$BORG_CELL" --tasks --wipe \
        </dev/null 3>&- 4>&- || rc=$?
    left="$(pids_of_cell)"
    for pid in $left; do
        echo "left over: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        kill -KILL "$pid" 2>/dev/null || true
    done
    [[ $rc -eq 0 && -z "$left" ]]
}

pids_of_cell()
{
    {
        grep -lsF -- "$BORG_CELL" /proc/[0-9]*/cmdline || true
        find /proc/[0-9]*/cwd -maxdepth 0 -lname "$BORG_CELL*" 2>/dev/null || true
    } | cut -d/ -f3 | sort -un
}

# Print the pids of masters and borglets, without the masters' readers, tasks and shims.
pids_of_programs()
{
    local pid
    for pid in $(pids_of_cell); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != borg-reader ] || continue
        case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in
            "$BUILD"/borgmaster* | "$BUILD"/borglet*) echo "$pid" ;;
        esac
    done
}

pid_of_borglet() # MACHINE
{
    cut -d' ' -f1 "$BORG_CELL/run/$1.pid"
}

# Print what helps most to find the cause of a failure.
last_logs()
{
    local log
    {
        borgctl --timeout 3 cell status || true
        borgctl --timeout 3 jobs || true
        borgctl --timeout 3 tasks || true
        find "$BORG_CELL" -name '*.log' -size +0 | sort | while read -r log; do
            echo "--- ${log#"$BORG_CELL"/}"
            tail -n 12 "$log" | cut -c 1-300
        done
    } 2>&1
}

# --- waiting -------------------------------------------------------------------------------------

now_ms()
{
    local t="${EPOCHREALTIME//[.,]/}"
    echo "$((t / 1000))"
}

# A busy machine may need this many times longer. A test that passes does not wait that long, and
# these deadlines do not measure speed.
PATIENCE=6

# wait_until SECONDS COMMAND...: repeat the command until it succeeds; fail with the last logs.
# SECONDS: more than it takes on an idle machine.
wait_until()
{
    local seconds=$(($1 * PATIENCE))
    local deadline=$(($(now_ms) + seconds * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        if (($(now_ms) > deadline)); then
            echo "not within $seconds s: $*"
            last_logs
            return 1
        fi
        sleep 0.15
    done
}

# wait_sql SECONDS EXPECTED SQL: repeat the query until its answer is exactly that.
wait_sql()
{
    wait_until "$1" sql_is "$2" "$3" && return
    echo "expected: $2"
    echo "answered: $(ask "$3" 2>&1)"
    return 1
}

sql_is()
{
    [[ "$(ask "$2")" == "$1" ]]
}

# --- asking --------------------------------------------------------------------------------------

# Print the rows of an SQL query, columns separated by tabs. The query is fresh because borgctl asks
# any replica, and one may lag behind another; no later query sees less.
ask()
{
    borgctl -o json query --fresh "$1" | jq -r '.[] | [.[]] | @tsv'
}

# Print a FIELD of `cell status`: of the leader, or of replica N.
status_json()
{
    borgctl -o json cell status
}

leader_id()
{
    status_json | jq -er '.leader | select(. != null and . != 0)'
}

pid_of_replica()
{
    status_json | jq -er --argjson id "$1" '.replicas[] | select(.id == $id) | .pid | select(. > 0)'
}

live_replica_ids()
{
    status_json | jq -r '.replicas[] | select((.pid // 0) > 0) | .id'
}

# Succeed if COUNT replicas answer with one leader and the same digest at one index, also in SQLite.
replicas_agree()
{
    status_json | jq -e --argjson count "$1" '
        [.replicas[] | select((.pid // 0) > 0)]
        | length == $count
          and ([.[] | select(.role == "leader")] | length) == 1
          and ([.[] | "\(.applied_index) \(.digest)"] | unique | length) == 1
          and all(.[]; .projected_index == .applied_index)'
}

# Print "JOB/INDEX attempt pid starttime machine" of each running task; equal lines: no restart.
running_tasks()
{
    ask "SELECT task, attempt, pid, machine FROM task_list WHERE state = 'running' AND pid > 0
        ORDER BY task" |
        while read -r task attempt pid machine; do
            echo "$task $attempt $pid $(start_time "$pid") $machine"
        done
}

# Print the start time in clock ticks since boot, which distinguishes processes with the same pid;
# "gone" if there is no process.
start_time()
{
    sed -E 's/.*\) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20 | grep . || echo gone
}

still_there() # LINES of running_tasks: succeed if these processes still run
{
    local pid start
    while read -r _ _ pid start _; do
        same "start time of $pid" "$start" "$(start_time "$pid")" || return 1
    done <<<"$1"
}

task_field() # JOB INDEX FIELD
{
    ask "SELECT $3 FROM task_list WHERE task = '$1/$2' ORDER BY job_id DESC LIMIT 1"
}

task_is() # JOB INDEX FIELD VALUE
{
    [[ "$(task_field "$1" "$2" "$3")" == "$4" ]]
}

job_runs() # JOB COUNT
{
    sql_is "$2" "SELECT running FROM job_list WHERE job = '$1' AND NOT dead"
}

job_is() # JOB STATE
{
    sql_is "$2" "SELECT state FROM job_list WHERE job = '$1' ORDER BY job_id DESC LIMIT 1"
}

is_gone() # PID
{
    [[ ! -d "/proc/$1" ]] || grep -q '^State:.Z' "/proc/$1/status"
}

# --- jobs ----------------------------------------------------------------------------------------

# spec NAME PRIORITY REPLICAS CPU COMMAND [JQ-CHANGE]: write a job spec, print its path.
spec()
{
    jq -n --arg name "$1" --argjson priority "$2" --argjson replicas "$3" --arg cpu "$4" \
        --arg command "$5" '{name: $name, priority: $priority, replicas: $replicas,
            task: {command: $command, resources: {cpu: $cpu, ram: "16Mi"}, grace: "2s"}}
            | '"${6:-.}" >"$SPECS/$1.json"
    echo "$SPECS/$1.json"
}

submit() # the arguments of spec
{
    borgctl submit "$(spec "$@")"
}

# --- users who write continuously ----------------------------------------------------------------

# Submit jobs that never fit until "$SPECS/stop" exists; print "NAME EXIT-CODE END-MS" for each.
write_on()
{
    local i name rc
    : >"$SPECS/writes.$1"
    for ((i = 0; ; i++)); do
        [[ ! -e "$SPECS/stop" ]] || break
        name="load-$1-$i"
        rc=0
        borgctl --timeout 30 submit "$(spec "$name" 50 1 100 'exit 0')" >"$SPECS/$name.out" 2>&1 ||
            rc=$?
        echo "$name $rc $(now_ms)" >>"$SPECS/acks.$1"
    done
    rm "$SPECS/writes.$1"
}

no_writer()
{
    [[ -z "$(find "$SPECS" -name 'writes.*')" ]]
}

# Each kills its last job first. They may be children of an earlier test, which `wait` cannot see.
writers_end()
{
    touch "$SPECS/stop"
    wait_until 30 no_writer
    rm "$SPECS/stop"
}

writes_reach()
{
    (($(cat "$SPECS"/acks.* 2>/dev/null | wc -l) >= $1))
}

# Print the longest wait of these writes without any fault: waits that are as long have no other
# cause than a busy machine.
gap_of_quiet_writes() # COUNT
{
    local count
    count="$(cat "$SPECS"/acks.* 2>/dev/null | wc -l)"
    wait_until 30 writes_reach $((count + $1))
    longest_gap_ms
}

longest_gap_ms()
{
    cut -d' ' -f3 "$SPECS"/acks.* | sort -n |
        awk 'NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { print gap + 0 }'
}

# --- checks --------------------------------------------------------------------------------------

# expect_exit CODE COMMAND...: run the command and keep its output in $output.
expect_exit()
{
    local expected="$1" rc=0
    shift
    output="$("$@" 2>&1)" || rc=$?
    if [[ $rc -ne $expected ]]; then
        echo "exit code $rc instead of $expected: $*"
        echo "$output"
        return 1
    fi
}

# fails COMMAND...: succeed if the command fails.
fails()
{
    ! "$@" || {
        echo "succeeded: $*"
        return 1
    }
}

# expect_text REGEX: fail unless $output matches.
expect_text()
{
    grep -Eq -- "$1" <<<"$output" && return
    echo "expected text matching: $1"
    echo "in: $output"
    return 1
}

expect_no_text() # REGEX
{
    grep -Eq -- "$1" <<<"$output" || return 0
    echo "unexpected text matching: $1"
    echo "in: $output"
    return 1
}

same() # WHAT EXPECTED ACTUAL
{
    [[ "$2" == "$3" ]] && return
    echo "$1 differ:"
    diff <(echo "$2") <(echo "$3")
    return 1
}

# Print a number for the reader of the test report.
figure()
{
    echo "# figure $*" >&3
}
