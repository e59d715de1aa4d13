/*
 * commands.c - the table of commands.
 */
#include "cli.h"
#include "jobfile.h"

const struct command cli_commands[] = {
    {
        .name = "cell up",
        .args = "",
        .options = OPTION(DIR) | OPTION(REPLICAS) | OPTION(BORGLETS) | OPTION(HOST) |
                   OPTION(CAPACITY) | OPTION(ATTR) | OPTION(ELECTION) | OPTION(SNAPSHOT),
        .summary = "start a cell of your own on this machine, or its missing processes",
        .details =
            "Makes certificates, chooses free ports, starts real masters and borglets in the\n"
            "background and waits until they are ready. In a directory that holds a cell, it\n"
            "brings the same cell back: processes that run are left alone, the others are\n"
            "started. Further certificates (--user NAME) and borglets can be added in this way.\n"
            "You become an operator of the cell; NAME may submit jobs of every band there. User\n"
            "root is an operator too (--user root: the key is in DIR/pki).\n"
            "Borglet mN gets the attribute rack=rN and, when it is started, those of --attr;\n"
            "`borgctl machines` shows all attributes.",
        .examples = "  borgctl cell up\n"
                    "  borgctl cell up --dir /tmp/cell --replicas 3 --borglets 2\n"
                    "  borgctl cell up --borglets 4 --capacity cpu=4,ram=8Gi,disk=10Gi",
        .run = cmd_cell_up,
    },
    {
        .name = "cell down",
        .args = "",
        .options = OPTION(DIR) | OPTION(TASKS) | OPTION(WIPE),
        .summary = "stop the masters and borglets of your own cell",
        .details =
            "Tasks continue to run, as they do when a cell fails; `cell up` adopts them again.\n"
            "--tasks stops them too (SIGTERM, then SIGKILL after 10 s).",
        .examples = "  borgctl cell down\n"
                    "  borgctl cell down --dir /tmp/cell --wipe",
        .run = cmd_cell_down,
    },
    {
        .name = "cell status",
        .args = "",
        .summary = "show problems of the masters with remedies, and how each master stands",
        .details =
            "The output begins with the problems (!!) and what to do about each. Then it lists\n"
            "the masters: LAG is the number of log entries behind the leader, DIGEST a hash of\n"
            "the whole cell (replicas at the same index must have the same digest), BORGLETS the\n"
            "number of borglets that the replica polls, SIZE the disk space of its directory,\n"
            "CLOCK how far its clock is ahead of the others. The list of masters comes from the\n"
            "cell and not from cell.json. If a master's directory is beside cell.json, the reason\n"
            "why the master ended is read from there. -o json also shows disk and database sizes\n"
            "and how long log entries waited for the disk.\n"
            "Exit code 0: no problem; 6: the cell works but has a problem; 3: there is no leader.",
        .examples = "  borgctl cell status\n"
                    "  borgctl -o json cell status | jq .leader",
        .run = cmd_cell_status,
    },
    {
        .name = "cell checkpoint",
        .args = "FILE",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FRESH),
        .summary = "write a checkpoint of the whole cell to a file, a SQLite database",
        .details =
            "Any replica makes the checkpoint, from one moment, while the cell continues to work;\n"
            "--fresh includes everything that was acknowledged before. The file contains the\n"
            "specs and environments of all users, so only operators get one. `borgctl simulate\n"
            "--checkpoint`, `borgctl cell restore` and sqlite3 can read it. The file is verified\n"
            "before it gets its name; an existing file is not overwritten.",
        .examples = "  borgctl cell checkpoint monday.db\n"
                    "  borgctl simulate --checkpoint monday.db --remove rack=r3\n"
                    "  sqlite3 monday.db 'SELECT state, count(*) FROM tasks GROUP BY state'",
        .run = cmd_cell_checkpoint,
    },
    {
        .name = "cell restore",
        .args = "FILE",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(DIR) | OPTION(REPLICAS) | OPTION(BORGLETS) | OPTION(HOST) |
                   OPTION(CAPACITY) | OPTION(ATTR) | OPTION(ELECTION) | OPTION(SNAPSHOT),
        .summary = "start a cell from a checkpoint",
        .details =
            "Works like `cell up`, but needs a new --dir, or one from which the directories of\n"
            "all masters are gone. FILE is verified completely, then every master starts from it.\n"
            "Changes made after the checkpoint are lost. If --dir still has cell.json and pki of\n"
            "the lost cell, its borglets find the new masters by themselves: tasks that are in\n"
            "the checkpoint continue to run without a restart, others are stopped. An existing\n"
            "cell is never overwritten.\n"
            "On several hosts, run `borgmaster --restore` on each; see its --help.",
        .examples = "  borgctl cell restore monday.db --dir /tmp/again\n"
                    "  rm -r cell/master*; borgctl cell restore monday.db --dir cell",
        .run = cmd_cell_restore,
    },
    {
        .name = "cell policy",
        .args = "[NAME]",
        .args_max = 1,
        .summary = "show or set (operators only) the default placement policy of the cell",
        .details =
            "NAME is stranding-aware (packs tasks and avoids machines with free cpu but no free\n"
            "ram), best-fit or worst-fit. The policy applies to jobs that do not name one, from\n"
            "the next placement on; running tasks are not moved.",
        .examples = "  borgctl cell policy\n"
                    "  borgctl cell policy worst-fit",
        .run = cmd_cell_policy,
    },
    {
        .name = "cell release",
        .args = "",
        .summary = "declare machines down although many are silent (operators only)",
        .details =
            "When more than a quarter of the machines, and at least 5, become silent at once, the\n"
            "cause may be the network. The cell then declares no machine down, and `cell status`\n"
            "reports this. The hold ends when the machines are back, after 5 minutes, or with\n"
            "this command; then silent machines are declared down a few at a time, and their\n"
            "tasks are rescheduled.",
        .examples = "  borgctl cell status\n"
                    "  borgctl cell release",
        .run = cmd_cell_release,
    },
    {
        .name = "cell upgrade",
        .args = "",
        .summary = "use what the latest release of all masters knows (operators only)",
        .details =
            "Masters of two releases work together as long as the cell uses the format of the "
            "older\n"
            "one. When all masters run the later release, this lets the cell use its format: the "
            "new\n"
            "fields and commands are accepted from then on, and masters of the older release "
            "refuse\n"
            "to start. A new cell uses the latest format that all its masters know.",
        .examples = "  borgctl cell restart && borgctl cell status\n"
                    "  borgctl cell upgrade",
        .run = cmd_cell_upgrade,
    },
    {
        .name = "cell transfer-leader",
        .args = "[ID]",
        .args_max = 1,
        .summary = "hand leadership to another replica (operators only)",
        .details =
            "Without ID, the most up-to-date replica becomes the leader. The leader first finishes "
            "the commands under way, for at most a quarter of a second;\n"
            "new commands wait meanwhile. Tasks and borglets are not affected. The command is\n"
            "refused if replica ID does not answer. A borgmaster that gets SIGTERM hands\n"
            "leadership over in the same way.",
        .examples = "  borgctl cell transfer-leader\n"
                    "  borgctl cell transfer-leader 3",
        .run = cmd_cell_transfer,
    },
    {
        .name = "cell add-replica",
        .args = "",
        .options = OPTION(ADDR),
        .summary = "add a replica to the masters (operators only)",
        .details =
            "The cell assigns a number to the new replica. The replica starts with an empty\n"
            "directory, receives the log, and becomes a voter when it has caught up. If the CA's\n"
            "key is here, its certificate is made. The command that starts it is printed; in a\n"
            "cell of `cell up` it is started at once. All other replicas must answer, because\n"
            "without them the log could not commit entries during the change. cell.json is\n"
            "updated; borglets learn the new address from the replicas.\n"
            "If this command is interrupted, the cell completes the change; `borgctl cell up`\n"
            "starts the missing process.",
        .examples = "  borgctl cell add-replica\n"
                    "  borgctl cell add-replica --addr 10.0.0.6:7100,10.0.0.6:7200",
        .run = cmd_cell_add_replica,
    },
    {
        .name = "cell remove-replica",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .summary = "remove a replica from the masters (operators only)",
        .details =
            "The command is refused if too few of the remaining replicas answer for a quorum. All\n"
            "of them are asked first, which takes a second when one has just died. If replica ID\n"
            "leads, it hands leadership over first. Its number is never used again, and its\n"
            "directory is of no further use. A replica that has not joined yet can be removed\n"
            "too.",
        .examples = "  borgctl cell remove-replica 5",
        .run = cmd_cell_remove_replica,
    },
    {
        .name = "cell replace-replica",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(ADDR),
        .summary = "replace a lost or outgoing replica by a new one (operators only)",
        .details =
            "If the old replica does not answer, it is removed first; otherwise it is removed\n"
            "after the new one has joined. The new replica gets another number because its\n"
            "directory is empty: a replica that returned under the old number without its log\n"
            "would have forgotten its votes, and is refused.",
        .examples = "  borgctl cell replace-replica 3\n"
                    "  borgctl cell replace-replica 3 --addr 10.0.0.6:7100",
        .run = cmd_cell_replace_replica,
    },
    {
        .name = "cell restart",
        .args = "",
        .summary = "restart the masters of your own cell one by one, the leader last",
        .details =
            "The masters are restarted with the borgmaster beside this borgctl, so this command\n"
            "also upgrades a cell to another build. A build that cannot read the existing\n"
            "database refuses to start and reports this. Each master is stopped only when all\n"
            "others have caught up; a leader hands leadership over before it stops, so commands\n"
            "wait a few milliseconds. In other cells, the supervisor restarts the masters in the\n"
            "same way (SIGTERM).",
        .examples = "  borgctl cell restart",
        .run = cmd_cell_restart,
    },
    {
        .name = "submit",
        .args = "SPEC",
        .args_min = 1,
        .args_max = 1,
        .options =
            OPTION(WAIT) | OPTION(FORMAT) | OPTION(EXT_STR) | OPTION(TLA_STR) | OPTION(DRY_RUN),
        .summary = "submit one or more jobs to the cell",
        .details =
            "SPEC is a .jsonnet, .json, .yaml or .yml file, or - for standard input; it contains\n"
            "one job or an array of jobs. All jobs are checked before any is submitted, and every\n"
            "mistake is reported with its path. --wait waits until all tasks of the job run or\n"
            "the job has ended, and exits with 5 if the job failed; --timeout does not limit this\n"
            "wait. Production and monitoring jobs need a grant or a quota of that band (borgctl\n"
            "help grant). The name of an ended job stays reserved for its user while the cell\n"
            "remembers the job.",
        .examples = "  borgctl submit examples/hello.jsonnet --wait\n"
                    "  borgctl submit web.jsonnet --tla-str version=7\n"
                    "  generate | borgctl submit - --format json\n"
                    "  borgctl submit web.yaml --dry-run",
        .run = cmd_submit,
        .help_more = jobfile_help,
    },
    {
        .name = "diff",
        .args = "SPEC",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FORMAT) | OPTION(EXT_STR) | OPTION(TLA_STR),
        .summary = "in what the jobs of a spec differ from those that run, and what that takes",
        .details =
            "SPEC is read as by submit. Of each job every field that differs is told: as it runs,\n"
            "as the spec has it, and whether borgctl update can change it. Exit code 0: nothing\n"
            "differs; 1: something does, or a job does not run. The specs of jobs are for the\n"
            "user whose jobs they are, readers and operators.",
        .examples = "  borgctl diff web.jsonnet\n"
                    "  borgctl -o json diff web.jsonnet | jq '.[].differences[].path'",
        .run = cmd_diff,
    },
    {
        .name = "jobs",
        .args = "[JOB]",
        .args_max = 1,
        .summary = "list all jobs, or show one",
        .examples = "  borgctl jobs\n"
                    "  borgctl -o json jobs | jq '.[] | select(.pending > 0) | .job'",
        .run = cmd_jobs,
    },
    {
        .name = "job",
        .args = "JOB",
        .args_min = 1,
        .args_max = 1,
        .summary = "show one job: spec, state, tasks and latest events",
        .examples = "  borgctl job web",
        .run = cmd_job,
    },
    {
        .name = "why",
        .args = "JOB[/INDEX]",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(NAMES) | OPTION(ATTEMPT),
        .summary = "explain why a task is pending and what would help, or how it was placed",
        .details =
            "Each machine is counted once, for the first obstacle found there: the machine is\n"
            "down or draining, a constraint, a spread, then free cpu, ram, disk and ports; the\n"
            "counts add up to all machines. A machine that only lacks room is counted again by\n"
            "the work that would have to be evicted there: work of lower priority (the scheduler\n"
            "evicts it when nothing else helps), work that max_disruptions of its job protects at\n"
            "present, work of the same or a higher priority, production work, or no eviction\n"
            "would help. Then follow the machines that come nearest and what they lack, the tasks\n"
            "that would have to be evicted on the best of them, and the smallest change of one\n"
            "resource with which the task would fit somewhere now. --machines prints names and\n"
            "longer lists; -o json has everything.\n"
            "\n"
            "For a task that is not pending, it explains how an attempt (--attempt N, default:\n"
            "the last one) was placed: the machine and the runner-up, the score of both at each\n"
            "stage, the tasks that were evicted, the end of each attempt, and the reasons for\n"
            "which the job has waited. Every replica keeps this history of the last million\n"
            "events, also after the task has ended. `among` is the set of machines that was\n"
            "searched: all machines, or, if the job had waited, those that had improved since\n"
            "(woken). If no task of a job is pending, the states of its tasks are printed.",
        .examples = "  borgctl why web\n"
                    "  borgctl why web/3 --machines\n"
                    "  borgctl why web/3 --attempt 1\n"
                    "  borgctl -o json why web/3 | jq '.decision.scores'\n"
                    "  borgctl -o json why web | jq '.reasons[] | select(.reason == \"fits\")'",
        .run = cmd_why,
    },
    {
        .name = "tasks",
        .args = "[JOB]",
        .args_max = 1,
        .summary = "list the tasks of all jobs or of one",
        .examples = "  borgctl tasks web\n"
                    "  borgctl -o json tasks web | jq '.[].machine'",
        .run = cmd_tasks,
    },
    {
        .name = "kill",
        .args = "JOB",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(WAIT),
        .summary = "kill a job and all its tasks",
        .details =
            "Each task gets SIGTERM and, after the job's grace period, SIGKILL. --wait waits\n"
            "until no process of the job is left. The cell cannot know this for a silent machine:\n"
            "when everything else has ended, the command waits --timeout for the machine to\n"
            "return, then reports it and exits with 4. Only the job's user and operators may kill\n"
            "a job. The name stays reserved for that user while the cell remembers the job.",
        .examples = "  borgctl kill web --wait",
        .run = cmd_kill,
    },
#if CELL_FORMAT >= 2
    {
        .name = "job restart",
        .args = "JOB[/INDEX]",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(BATCH),
        .summary = "start the tasks of a running job anew, a few at a time",
        .details =
            "Each task that runs now, or that of INDEX, is stopped with notice (SIGTERM, grace,\n"
            "SIGKILL) and starts anew, wherever there is room. No more are down at once than\n"
            "max_disruptions of the job and --batch allow; the others wait for their turn, and "
            "the\n"
            "cell goes on with them by itself. `borgctl events JOB -f` shows it. Only the job's\n"
            "user and operators may.",
        .examples = "  borgctl job restart web\n"
                    "  borgctl job restart web --batch 2\n"
                    "  borgctl job restart web/3",
        .run = cmd_job_restart,
    },
#endif
    {
        .name = "update",
        .args = "JOB",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(TASK_REPLICAS) | OPTION(PRIORITY) | OPTION(CPU) | OPTION(RAM) |
                   OPTION(DISK) | OPTION(GPU),
        .summary = "change the number of tasks, the limits or the priority of a running job",
        .details =
            "If replicas grow, the new tasks start as after a submit; if they shrink, the tasks\n"
            "with the highest indexes are killed, with notice. A change of priority restarts\n"
            "nothing. New limits apply without a restart where the machine has room, and always\n"
            "when they are smaller; only a change of gpus needs a restart. The other tasks are\n"
            "restarted, at most max_disruptions at a time. The change is checked against the\n"
            "quota of the job's user, as a submit is. Only that user and operators may update a\n"
            "job.",
        .examples = "  borgctl update web --replicas 10\n"
                    "  borgctl update crunch --priority free --replicas 200\n"
                    "  borgctl update web --cpu 500m --ram 2Gi",
        .run = cmd_update,
    },
    {
        .name = "logs",
        .args = "JOB[/INDEX]",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FOLLOW) | OPTION(STDERR) | OPTION(TAIL) | OPTION(ATTEMPT),
        .summary = "print the output of a task (without INDEX: of task 0)",
        .details =
            "-f continues as the output grows. When the task is started again, on this machine or\n"
            "another, -f continues with the next attempt; it ends with the task. For each stream\n"
            "of an attempt the newest 24 to 32 MiB are kept. Each machine keeps the logs of 4,096\n"
            "ended attempts, at most 5 per task and 1 GiB in all. Missing parts are reported on\n"
            "stderr. The job's user, readers and operators may read logs.",
        .examples = "  borgctl logs web/2 --tail 20 -f\n"
                    "  borgctl logs crash/0 --attempt 1 --err",
        .run = cmd_logs,
    },
    {
        .name = "allocs",
        .args = "[SET]",
        .args_max = 1,
        .summary = "list allocs: machine, number of tasks inside, resources that these use",
        .details =
            "An alloc set is a job with `alloc` in place of `task`: it reserves resources and\n"
            "runs nothing. Jobs of the same user with `alloc_set: 'SET'` run inside it. When an\n"
            "alloc is drained, preempted or lost, its tasks move with it. When the set is killed,\n"
            "its tasks become pending until a set of that name is submitted again.",
        .examples = "  borgctl allocs\n"
                    "  borgctl allocs web-room -o json",
        .run = cmd_allocs,
    },
    {
        .name = "machines",
        .args = "",
        .summary = "list the machines: state, capacity, reserved and free resources",
        .details =
            "A machine is up, draining, down (it is silent and its tasks were rescheduled), or\n"
            "sick: three tasks in a row failed to start there, so it gets none for 30 s, and\n"
            "longer (up to 10 minutes) when that happens again. LEFT THERE counts attempts that\n"
            "ran on a machine when it became silent; their processes may still run until the\n"
            "machine is back.",
        .examples = "  borgctl machines\n"
                    "  borgctl -o json machines | jq '[.[].cpu_free] | add'",
        .run = cmd_machines,
    },
    {
        .name = "drain",
        .args = "MACHINE",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(WAIT),
        .summary = "evict all tasks from a machine and place none there (operators only)",
        .details =
            "The tasks are stopped, with notice, and rescheduled elsewhere; this does not count\n"
            "as a failure. From a job with max_disruptions only so many tasks are evicted at a\n"
            "time; the others follow when those run again. The machine stays drained, also when\n"
            "its borglet or the masters restart, until `undrain`. --wait waits until no task is\n"
            "left there.",
        .examples = "  borgctl drain m2 --wait",
        .run = cmd_drain,
    },
    {
        .name = "undrain",
        .args = "MACHINE",
        .args_min = 1,
        .args_max = 1,
        .summary = "allow placements on a drained machine again (operators only)",
        .examples = "  borgctl undrain m2",
        .run = cmd_undrain,
    },
    {
        .name = "machine remove",
        .args = "MACHINE",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FORCE),
        .summary = "remove a machine that is gone (operators only)",
        .details =
            "The machine must be down or have no tasks; with --force it is removed anyway, and\n"
            "its tasks are lost. The cell no longer waits for processes that may still run there.\n"
            "A borglet that returns under this name registers as a new machine.",
        .examples = "  borgctl machine remove m7",
        .run = cmd_machine_remove,
    },
    {
        .name = "quota set",
        .args = "USER BAND AMOUNTS",
        .args_min = 3,
        .args_max = 3,
        .summary = "limit the resources of a user's jobs in a band (operators only)",
        .details =
            "BAND is batch, production or monitoring; free work needs no quota. AMOUNTS is a list\n"
            "of cpu=N,ram=N,disk=N,ports=N,gpu=N,tasks=N and NAME=N for named resources of\n"
            "machines; a resource that is not listed has no limit. USER * stands for every user\n"
            "without a quota of his own in the band. The limits of all tasks of the user's live\n"
            "jobs are counted. The quota is checked when a job is submitted or grows: a lower\n"
            "quota stops nothing. A quota of his own allows a user to submit jobs of the band;\n"
            "one with tasks=N also allows him more than half of the live tasks that the other\n"
            "users leave in the cell.",
        .examples = "  borgctl quota set ada production cpu=20,ram=64Gi,tasks=100\n"
                    "  borgctl quota set '*' production cpu=0",
        .run = cmd_quota_set,
    },
    {
        .name = "quota clear",
        .args = "USER BAND",
        .args_min = 2,
        .args_max = 2,
        .summary = "remove a quota, so that the quota of user * applies (operators only)",
        .examples = "  borgctl quota clear ada production",
        .run = cmd_quota_clear,
    },
    {
        .name = "quota",
        .args = "",
        .summary = "list the usage and the quota of each user and band",
        .details = "BY is the user whose quota applies: the user himself or * (every user).",
        .examples = "  borgctl quota\n"
                    "  borgctl -o json quota | jq '.[] | select(.cpu_milli < .cpu_used_milli)'",
        .run = cmd_quota,
    },
    {
        .name = "grant",
        .args = "USER RIGHT...",
        .args_min = 2,
        .args_max = 5,
        .summary = "give a user rights (operators only)",
        .details = "operator    operates the cell: drain, quotas, grants, changes to all jobs\n"
                   "reader      reads logs, specs and environments of all jobs\n"
                   "production  submits jobs of this band (a quota of the band allows it too)\n"
                   "monitoring  submits jobs of this band (a quota of the band allows it too)\n"
                   "User root always is an operator.",
        .examples = "  borgctl grant ada production\n"
                    "  borgctl grant bob operator",
        .run = cmd_grant,
    },
    {
        .name = "ungrant",
        .args = "USER RIGHT...",
        .args_min = 2,
        .args_max = 5,
        .summary = "take rights away from a user (operators only)",
        .details = "Rights are checked when a command arrives; running jobs are not affected.",
        .examples = "  borgctl ungrant ada production",
        .run = cmd_ungrant,
    },
    {
        .name = "revoke",
        .args = "IDENTITY",
        .args_min = 1,
        .args_max = 1,
        .summary = "revoke all present certificates of an identity (operators only)",
        .details =
            "IDENTITY is a user's name, borglet/MACHINE or master/NUMBER. A certificate that is\n"
            "issued later is valid, with the same rights as before.",
        .examples = "  borgctl revoke ada\n"
                    "  borgctl revoke borglet/m7",
        .run = cmd_revoke,
    },
    {
        .name = "unrevoke",
        .args = "IDENTITY",
        .args_min = 1,
        .args_max = 1,
        .summary = "make revoked certificates valid again (operators only)",
        .examples = "  borgctl unrevoke ada",
        .run = cmd_unrevoke,
    },
    {
        .name = "identities",
        .args = "",
        .summary = "list the identities with rights or with revoked certificates",
        .details = "Identities without rights and without revocation are not listed. User root\n"
                   "always is an operator.",
        .examples = "  borgctl identities\n"
                    "  borgctl -o json identities | jq '.[] | select(.revoked_ms)'",
        .run = cmd_identities,
    },
    {
        .name = "events",
        .args = "[JOB[/INDEX]]",
        .args_max = 1,
        .options = OPTION(NUMBER) | OPTION(FOLLOW),
        .summary = "list events, oldest first: of the cell, of a job or of one task",
        .examples = "  borgctl events web\n"
                    "  borgctl events web/3\n"
                    "  borgctl events -n 10 -f",
        .run = cmd_events,
    },
    {
        .name = "query",
        .args = "SQL",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FRESH),
        .summary = "run a SELECT over the cell's tables",
        .details =
            "Queries are read-only and limited in time, memory and size. Commands and specs\n"
            "of other users' jobs are NULL. The schema documents the tables:\n"
            "SELECT name, sql FROM sqlite_schema.",
        .examples = "  borgctl query 'SELECT state, count(*) FROM tasks GROUP BY state'\n"
                    "  borgctl query --fresh 'SELECT count(*) AS n FROM jobs' -o json",
        .run = cmd_query,
    },
    {
        .name = "simulate",
        .args = "",
        .options = OPTION(TRACE_DIR) | OPTION(MACHINES) | OPTION(TASKS_FILE) | OPTION(CHECKPOINT) |
                   OPTION(POLICY) | OPTION(LIMIT) | OPTION(AT) | OPTION(ARRIVALS) |
                   OPTION(COMPACT) | OPTION(HOW_MANY) | OPTION(REMOVE) | OPTION(HTML) |
                   OPTION(WHY) | OPTION(SEED),
        .summary = "run the scheduler on a trace or on a copy of a cell",
        .details =
            "Runs the scheduler and the cell of a master in this process, on a trace in CSV (the\n"
            "first line names the columns, a malformed line is refused) or on a copy of a real\n"
            "cell's cell.db, which is only read. Properties of a trace that a cell does not have\n"
            "are counted in the output. Priorities up to 11 are mapped from the scale of 2011:\n"
            "0-1 free, 2-8 batch, 9 and 11 production, 10 monitoring; larger scales are used\n"
            "unchanged.\n"
            "A trace is simulated at one moment (--at) or over time (--arrivals).\n"
            "--compact packs all tasks from scratch on random subsets of the machines, with 11\n"
            "seeds, and prints the 90th percentile of the machines needed; 0.2% of the tasks may\n"
            "stay pending, and hard constraints of jobs larger than half the cell become soft.\n"
            "--why explains pending tasks as `borgctl why` does, at the end of the simulation.",
        .examples =
            "  borgctl simulate --dir trace/\n"
            "  borgctl simulate --machines m.csv --tasks t.csv.gz --policy best-fit -o json\n"
            "  borgctl simulate --dir trace/ --arrivals all --html report.html\n"
            "  borgctl simulate --dir trace/ --at peak --compact\n"
            "  borgctl simulate --checkpoint cell.db --remove rack=r3 --remove 2 --seed 7\n"
            "  borgctl simulate --checkpoint cell.db --how-many web.jsonnet\n"
            "  borgctl simulate --checkpoint cell.db --remove rack=r3 --why web",
        .run = cmd_simulate,
    },
    {
        .name = "pki list",
        .args = "",
        .options = OPTION(DIR),
        .summary = "list the certificates beside the cell's CA and their expiry dates",
        .details = "`cell status` reports certificates that expire within 30 days.",
        .examples = "  borgctl pki list\n"
                    "  borgctl -o json pki list | jq '.[] | select(.state != \"good\")'",
        .run = cmd_pki_list,
    },
    {
        .name = "pki make",
        .args = "IDENTITY",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(DIR) | OPTION(OUT) | OPTION(VALID),
        .summary = "make a certificate and key for a user, a machine or a master",
        .details =
            "IDENTITY is user/NAME, borglet/MACHINE or master/NUMBER. With --out, a directory is\n"
            "made that contains everything its holder needs (cell.json, the CA's certificate,\n"
            "certificate and key), and the command that uses it is printed; copy it to the other\n"
            "host in a way that keeps the key secret. Without --out, certificate and key are put\n"
            "beside the CA. If the cell answers, it is asked whether the identity is revoked; the\n"
            "new certificate is then issued after the revocation.",
        .examples = "  borgctl pki make user/ada --out ada-cell\n"
                    "  borgctl pki make borglet/rack1-m7 --out m7 --valid 365d",
        .run = cmd_pki_make,
    },
    {
        .name = "pki renew",
        .args = "[NAME...]",
        .args_max = CLI_ARGS_MAX,
        .options = OPTION(DIR) | OPTION(CA) | OPTION(VALID),
        .summary = "renew certificates and keys that are about to expire",
        .details =
            "Renews all certificates of the cell, or those named (master-3, borglet/m1,\n"
            "user-ada). No restart is needed: masters and borglets check their files every two\n"
            "seconds, use new certificates for new connections, and reconnect before the old\n"
            "certificate expires. The CA's certificate is renewed with --ca, and automatically\n"
            "when it expires within 30 days. To change the CA's key: make another CA, put both\n"
            "certificates into every ca.crt (the old one first, because it identifies the cell),\n"
            "then make all certificates with the new CA.",
        .examples = "  borgctl pki renew\n"
                    "  borgctl pki renew --dir /srv/cell master-3 user/ada\n"
                    "  borgctl pki renew --ca",
        .run = cmd_pki_renew,
    },
    {
        .name = "help",
        .args = "[COMMAND]",
        .args_max = 2,
        .options = OPTION(MAN) | OPTION(SCHEMA) | OPTION(PAGE),
        .summary = "this, or the help of one command",
        .examples = "  borgctl help submit\n"
                    "  borgctl help submit --schema >job.schema.json\n"
                    "  borgctl help --man | man -l -",
        .run = cmd_help,
    },
    {.name = NULL},
};
