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
        .summary = "start a cell of your own on this machine, or what is missing of it",
        .details =
            "Makes certificates, finds free ports, starts real masters and borglets in the\n"
            "background and waits until they are at work. On a directory that holds a cell it\n"
            "brings the same cell back: what runs is left alone, what does not is started.\n"
            "Other certificates (--user NAME) and more borglets can be added that way. You are an\n"
            "operator of that cell; NAME may do work of every band there. User root is an "
            "operator\n"
            "too (--user root: its key is in DIR/pki).\n"
            "Borglet mN gets the attribute rack=rN, and those of --attr when it is started with\n"
            "them; `borgctl machines` shows all.",
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
        .details = "Tasks run on, as they do when a cell fails: `cell up` finds them again.\n"
                   "--tasks stops them too (SIGTERM, 10 s later SIGKILL).",
        .examples = "  borgctl cell down\n"
                    "  borgctl cell down --dir /tmp/cell --wipe",
        .run = cmd_cell_down,
    },
    {
        .name = "cell status",
        .args = "",
        .summary = "what is wrong with the masters and what to do; who leads, how far each is",
        .details =
            "First what needs attention (!!) with what to do about it, then each master: LAG is "
            "in\n"
            "entries behind the leader, DIGEST a hash of the whole cell (those at the same index\n"
            "must be equal), BORGLETS those it drives, SIZE what its directory takes of the disk,\n"
            "CLOCK what its clock is ahead of the others'. Who the masters are the cell says, not\n"
            "cell.json. Why one ended is read from its directory when that is beside cell.json.\n"
            "-o json has more: what is on its disk and in its database, how long entries waited\n"
            "for the disk. Exit code 0: all is well; 6: the cell works, but look; 3: no leader.",
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
        .summary = "write the whole cell to a file: a SQLite database",
        .details =
            "Any replica makes it, of one moment, while the cell works on; --fresh includes\n"
            "everything acknowledged before. All users' specs and environments are in it, so only\n"
            "the operator gets one. The file is what `borgctl simulate --checkpoint`\n"
            "and sqlite3 read. It is checked before it gets its name; a file that exists is\n"
            "left alone.",
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
        .summary = "start a cell that begins with a checkpoint",
        .details =
            "Like `cell up`, but into a new --dir, or one whose masters' directories are all "
            "gone:\n"
            "FILE is checked to the last row, then every master begins with it. What came after\n"
            "the checkpoint is lost. Where --dir still has cell.json and pki of the lost cell, "
            "its\n"
            "borglets find the new masters by themselves: tasks that the checkpoint knows go on\n"
            "running untouched, others are stopped. A cell that exists is never overwritten.\n"
            "On several hosts: run `borgmaster --restore` on each, see its --help.",
        .examples = "  borgctl cell restore monday.db --dir /tmp/again\n"
                    "  rm -r cell/master*; borgctl cell restore monday.db --dir cell",
        .run = cmd_cell_restore,
    },
    {
        .name = "cell policy",
        .args = "[NAME]",
        .args_max = 1,
        .summary = "how machines are chosen for jobs that do not say it; to set it: operators only",
        .details =
            "NAME is stranding-aware (pack, leaving no cpu without ram), best-fit or worst-fit. "
            "It\nholds for the next task that is placed; what runs stays where it is.",
        .examples = "  borgctl cell policy\n"
                    "  borgctl cell policy worst-fit",
        .run = cmd_cell_policy,
    },
    {
        .name = "cell release",
        .args = "",
        .summary = "go on although a large share of the machines is silent (operators only)",
        .details =
            "When more than a quarter of the machines, and at least 5, fall silent at once, the "
            "cell\n"
            "holds still: `cell status` says so and no machine is declared down, for it may be "
            "the\n"
            "network. It goes on when they are back, after 5 minutes, or with this command; then\n"
            "silent machines are declared down a few at a time and their tasks move.",
        .examples = "  borgctl cell status\n"
                    "  borgctl cell release",
        .run = cmd_cell_release,
    },
    {
        .name = "cell transfer-leader",
        .args = "[ID]",
        .args_max = 1,
        .summary = "let another replica lead: this one, or who is furthest (operators only)",
        .details =
            "What is under way is finished first, for a quarter of a second at most, and new\n"
            "commands wait; no task, borglet or user notices more. A replica that does not answer "
            "is refused. A\n"
            "borgmaster that is told to stop (SIGTERM) does the same by itself.",
        .examples = "  borgctl cell transfer-leader\n"
                    "  borgctl cell transfer-leader 3",
        .run = cmd_cell_transfer,
    },
    {
        .name = "cell add-replica",
        .args = "",
        .options = OPTION(ADDR),
        .summary = "one more replica of the masters (operators only)",
        .details =
            "The cell gives it a number; it starts with an empty directory, gets the log, and is\n"
            "counted when it has caught up. Its certificate is made where the CA's key is, and\n"
            "the command that starts it is printed; in a cell of `cell up` it is started. All\n"
            "other replicas must answer: what is under way could not be committed without them.\n"
            "cell.json is brought up to date; borglets learn of it from the replicas. "
            "Interrupted,\n"
            "the cell goes on with it; `borgctl cell up` starts what is to be started.",
        .examples = "  borgctl cell add-replica\n"
                    "  borgctl cell add-replica --addr 10.0.0.6:7100,10.0.0.6:7200",
        .run = cmd_cell_add_replica,
    },
    {
        .name = "cell remove-replica",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .summary = "one replica of the masters less (operators only)",
        .details =
            "Refused when fewer would answer than are needed for a majority of those that stay:\n"
            "all are asked first, which takes a second when one of them has just died.\n"
            "A leader hands leadership over first. Its number is never used again, and what is in\n"
            "its directory is of no use any more. One that has not joined yet is given up.",
        .examples = "  borgctl cell remove-replica 5",
        .run = cmd_cell_remove_replica,
    },
    {
        .name = "cell replace-replica",
        .args = "ID",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(ADDR),
        .summary = "a new replica in the place of one that is lost or has to go (operators only)",
        .details =
            "One that does not answer is removed first, one that does when the new one has\n"
            "joined. The new one gets another number, for its directory is empty: whoever comes\n"
            "back under the old number with an empty directory has forgotten what it promised,\n"
            "and is refused.",
        .examples = "  borgctl cell replace-replica 3\n"
                    "  borgctl cell replace-replica 3 --addr 10.0.0.6:7100",
        .run = cmd_cell_replace_replica,
    },
    {
        .name = "cell restart",
        .args = "",
        .summary = "restart the masters of your own cell one by one, the leader last",
        .details =
            "With the borgmaster that is beside this borgctl: so a cell is brought to another\n"
            "build. One whose database has another format refuses to start, and says so. Each is\n"
            "stopped when all others have caught up; a leader that is stopped hands leadership\n"
            "over, so commands wait some milliseconds. The masters of other cells are restarted\n"
            "in the same way by their supervisor (SIGTERM).",
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
        .summary = "hand a job, or several, to the cell",
        .details =
            "SPEC is a .jsonnet, .json, .yaml or .yml file, or - for standard input; it gives one\n"
            "job or an array of jobs. All are checked, and every mistake is told with its path,\n"
            "before any is submitted. --wait waits until all tasks of the job run or the job has\n"
            "ended, and ends with 5 if it failed; --timeout does not bound that wait.\n"
            "Production and monitoring are for users who were granted the band or a quota in it\n"
            "(borgctl help grant). The name of an ended job stays its user's while the cell\n"
            "remembers it.",
        .examples = "  borgctl submit examples/hello.jsonnet --wait\n"
                    "  borgctl submit web.jsonnet --tla-str version=7\n"
                    "  generate | borgctl submit - --format json\n"
                    "  borgctl submit web.yaml --dry-run",
        .run = cmd_submit,
        .help_more = jobfile_help,
    },
    {
        .name = "jobs",
        .args = "[JOB]",
        .args_max = 1,
        .summary = "list the jobs, or show one",
        .examples = "  borgctl jobs\n"
                    "  borgctl -o json jobs | jq '.[] | select(.pending > 0) | .job'",
        .run = cmd_jobs,
    },
    {
        .name = "job",
        .args = "JOB",
        .args_min = 1,
        .args_max = 1,
        .summary = "one job: what it is, how it is, its tasks and its latest events",
        .examples = "  borgctl job web",
        .run = cmd_job,
    },
    {
        .name = "why",
        .args = "JOB[/INDEX]",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(NAMES) | OPTION(ATTEMPT),
        .summary = "why it is pending and what would help; how it was placed, and by what",
        .details =
            "Each machine counts once, at the first thing that is in the way: the machine is\n"
            "down or draining, a constraint, a spread, then cpu, ram, disk and ports as they are\n"
            "free now; the counts add up to all machines. Machines that lack only room are\n"
            "counted again by the worst that would have to go: work of lower priority (the\n"
            "scheduler evicts it when nothing else helps), work that the max_disruptions of its\n"
            "job spares now, work of the same or a higher priority, production, or nothing that\n"
            "helps. Then the nearest machines and what they lack, who would have to be evicted\n"
            "where least forbids it, and the smallest change of one resource with which it fits\n"
            "somewhere now. --machines gives names and longer lists; -o json has all of it.\n"
            "\n"
            "Of a task that is not pending it tells how an attempt (--attempt N, else the last\n"
            "one) was placed: on which machine and which was next, what each stage of scoring\n"
            "said of both, who was evicted for it, what became of all its attempts, and for what\n"
            "reasons its job has waited. That is in the history of every replica and stays there\n"
            "after the task has ended, as long as the last million events. `among` is all\n"
            "machines, or those where something had changed for the better (woken), when the job\n"
            "had waited. Of a job that is not pending the states are told.",
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
        .summary = "list the tasks, of all jobs or of one",
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
        .summary = "end a job and all its tasks",
        .details =
            "Each task gets SIGTERM and, after the job's grace, SIGKILL. --wait waits until\n"
            "none of its processes is left. Of a machine that is silent nobody knows that: when\n"
            "all else has ended it waits --timeout for it to come back, then says so and exits\n"
            "with 4. Only the user whose job it is and operators may. The name stays that user's\n"
            "while the cell remembers the job.",
        .examples = "  borgctl kill web --wait",
        .run = cmd_kill,
    },
    {
        .name = "update",
        .args = "JOB",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(TASK_REPLICAS) | OPTION(PRIORITY) | OPTION(CPU) | OPTION(RAM) |
                   OPTION(DISK) | OPTION(GPU),
        .summary = "change how many tasks a running job has, their limits, its priority",
        .details =
            "More replicas are started as at a submit; of fewer the highest indexes are killed,\n"
            "with notice. A change of priority restarts nothing. Tasks get new limits without a\n"
            "restart where their machine has room, and smaller ones always; only gpus need one.\n"
            "The others are stopped, no more at once than max_disruptions, and start anew. The\n"
            "quota of the job's user is asked as at a submit. Only that user and\n"
            "operators may.",
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
        .summary = "what a task has written (INDEX 0 when there is none)",
        .details =
            "-f goes on as it grows; when the task is started again, on this machine or\n"
            "another, with its next attempt; it ends with the task. Of each stream of an attempt\n"
            "the newest 24 to 32 MiB are kept, and on each machine the logs of 4,096 ended\n"
            "attempts, at most 5 of a task and 1 GiB in all. What is missing is told on stderr.\n"
            "Logs are for the user whose job it is, readers and operators.",
        .examples = "  borgctl logs web/2 --tail 20 -f\n"
                    "  borgctl logs crash/0 --attempt 1 --err",
        .run = cmd_logs,
    },
    {
        .name = "allocs",
        .args = "[SET]",
        .args_max = 1,
        .summary = "list allocs: where they are, how many tasks are inside, what those take",
        .details =
            "An alloc set is a job with `alloc` in place of `task`: it reserves room and runs\n"
            "nothing. Jobs of the same user with `alloc_set: 'SET'` run inside. When an alloc is\n"
            "drained, preempted or lost, its tasks move with it; when the set is killed they\n"
            "wait until there is one of that name again.",
        .examples = "  borgctl allocs\n"
                    "  borgctl allocs web-room -o json",
        .run = cmd_allocs,
    },
    {
        .name = "machines",
        .args = "",
        .summary = "list the machines: state, capacity, what is reserved, what is free",
        .details =
            "A machine is up, draining, down (silent: its tasks were started elsewhere), or sick:\n"
            "it could not start three tasks in a row, and gets none for 30 s, or longer when that\n"
            "happens again, up to 10 minutes. LEFT THERE: attempts that ran on a machine when it\n"
            "fell silent; their processes may still run until it is back.",
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
        .summary = "move all work off a machine, and give it none (operators only)",
        .details =
            "Its tasks are told to stop, with notice, and run elsewhere; that does not count as a\n"
            "failure. A job with max_disruptions gives up only so many tasks at a time: the "
            "others\n"
            "follow when those run again. It stays drained, also when its borglet or the masters\n"
            "are started again, until `undrain`. --wait waits until no task is left there.",
        .examples = "  borgctl drain m2 --wait",
        .run = cmd_drain,
    },
    {
        .name = "undrain",
        .args = "MACHINE",
        .args_min = 1,
        .args_max = 1,
        .summary = "let a drained machine take work again (operators only)",
        .examples = "  borgctl undrain m2",
        .run = cmd_undrain,
    },
    {
        .name = "machine remove",
        .args = "MACHINE",
        .args_min = 1,
        .args_max = 1,
        .options = OPTION(FORCE),
        .summary = "forget a machine that is gone (root only)",
        .details =
            "It must be down, or have no work; else --force, and its tasks are lost. Nobody waits\n"
            "any longer for what may still run there. A borglet that comes back with its name\n"
            "registers anew, as a new machine.",
        .examples = "  borgctl machine remove m7",
        .run = cmd_machine_remove,
    },
    {
        .name = "quota set",
        .args = "USER BAND AMOUNTS",
        .args_min = 3,
        .args_max = 3,
        .summary = "bound what a user's jobs may ask for in a band (operators only)",
        .details =
            "BAND is batch, production or monitoring; free work needs no quota. AMOUNTS are some "
            "of\n"
            "cpu=N,ram=N,disk=N,ports=N,gpu=N,tasks=N and NAME=N for what machines name; what is\n"
            "not said is not bounded. USER * stands for each user who has no quota of his own in "
            "the band. The limits of all tasks of the\n"
            "user's live jobs count. It is asked when a job is submitted or grows: lowering it\n"
            "stops nothing. A quota of his own opens the band to a user; one of tasks lets him "
            "have\n"
            "more than half of the live tasks that the others leave in the cell.",
        .examples = "  borgctl quota set ada production cpu=20,ram=64Gi,tasks=100\n"
                    "  borgctl quota set '*' production cpu=0",
        .run = cmd_quota_set,
    },
    {
        .name = "quota clear",
        .args = "USER BAND",
        .args_min = 2,
        .args_max = 2,
        .summary = "take a quota away; that of everybody (*) holds then (operators only)",
        .examples = "  borgctl quota clear ada production",
        .run = cmd_quota_clear,
    },
    {
        .name = "quota",
        .args = "",
        .summary = "list what the users have and may have, per band",
        .details = "BY says whose quota it is: the user's own or that of everybody (*).",
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
        .details =
            "operator    keeps the cell: drains, sets quotas, grants, changes everybody's jobs\n"
            "reader      reads logs, specs and environments of everybody's jobs\n"
            "production  his jobs may be of this band; so may those of who has a quota there\n"
            "monitoring  the same\n"
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
        .details = "What runs goes on: rights are asked for when a command comes.",
        .examples = "  borgctl ungrant ada production",
        .run = cmd_ungrant,
    },
    {
        .name = "revoke",
        .args = "IDENTITY",
        .args_min = 1,
        .args_max = 1,
        .summary = "have all certificates that somebody has now count no more (operators only)",
        .details =
            "IDENTITY is a user's name, borglet/MACHINE or master/NUMBER. A certificate that is\n"
            "issued later counts, with the rights that the identity had.",
        .examples = "  borgctl revoke ada\n"
                    "  borgctl revoke borglet/m7",
        .run = cmd_revoke,
    },
    {
        .name = "unrevoke",
        .args = "IDENTITY",
        .args_min = 1,
        .args_max = 1,
        .summary = "have revoked certificates count again (operators only)",
        .examples = "  borgctl unrevoke ada",
        .run = cmd_unrevoke,
    },
    {
        .name = "identities",
        .args = "",
        .summary = "list who has rights, and whose certificates are revoked since when",
        .details = "Who has no rights and is not revoked is not listed. User root always is an\n"
                   "operator.",
        .examples = "  borgctl identities\n"
                    "  borgctl -o json identities | jq '.[] | select(.revoked_ms)'",
        .run = cmd_identities,
    },
    {
        .name = "events",
        .args = "[JOB[/INDEX]]",
        .args_max = 1,
        .options = OPTION(NUMBER) | OPTION(FOLLOW),
        .summary = "what happened, oldest first: of the cell, of a job or of one task",
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
        .summary = "any SELECT over the cell's tables",
        .details = "Read-only, bounded in time, memory and size. Commands and specs of jobs of\n"
                   "others are NULL. The tables explain themselves:\n"
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
        .summary = "what the scheduler would do: a trace, or what if, without touching a cell",
        .details =
            "Runs the scheduler and the cell of a master in this process, on a trace in CSV (its\n"
            "first line names the columns, a malformed line is refused) or on a copy of a real\n"
            "cell's cell.db, which is only read. What a trace says that a cell cannot take is\n"
            "counted in the output. Priorities up to 11 are taken for the scale of 2011: 0-1 "
            "free,\n"
            "2-8 batch, 9 and 11 production, 10 monitoring; else as they are.\n"
            "Of a trace one moment is taken (--at), or it is run over time (--arrivals).\n"
            "--compact packs everything anew on random parts of the machines, with 11 seeds, and\n"
            "prints the 90th percentile of machines needed; 0.2% of the tasks may stay pending,\n"
            "and what jobs larger than half the cell insist on becomes a wish.\n"
            "--why answers as `borgctl why` does, about the cell as it is in the end.",
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
        .summary = "the certificates of a cell, where its CA is, and when each ends",
        .details = "`cell status` tells of those that end within 30 days.",
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
        .summary = "a certificate and key for a user, a machine or a master on another host",
        .details =
            "IDENTITY is user/NAME, borglet/MACHINE or master/NUMBER. With --out a directory is\n"
            "made that holds all its holder needs (cell.json, the CA's certificate, the pair),\n"
            "and the command that uses it is printed; bring it to the other host so that nobody\n"
            "else reads the key. Without, the pair is put beside the CA. A cell that answers is\n"
            "asked whether the identity is revoked: the new certificate is issued after that.",
        .examples = "  borgctl pki make user/ada --out ada-cell\n"
                    "  borgctl pki make borglet/rack1-m7 --out m7 --valid 365d",
        .run = cmd_pki_make,
    },
    {
        .name = "pki renew",
        .args = "[NAME...]",
        .args_max = CLI_ARGS_MAX,
        .options = OPTION(DIR) | OPTION(CA) | OPTION(VALID),
        .summary = "new certificates and keys in the place of those that end",
        .details =
            "All of the cell's, or those named (master-3, borglet/m1, user-ada). Nothing has to\n"
            "be restarted: masters and borglets look at their files every two seconds, use new\n"
            "ones for new connections, and make theirs anew before the old certificate ends. The\n"
            "CA's certificate is renewed with --ca, and by itself when it ends within 30 days.\n"
            "To change the CA's key: make another CA, put both certificates into every ca.crt\n"
            "(the old one first, a cell is known by it), then make all certificates with it.",
        .examples = "  borgctl pki renew\n"
                    "  borgctl pki renew --dir /srv/cell master-3 user/ada\n"
                    "  borgctl pki renew --ca",
        .run = cmd_pki_renew,
    },
    {
        .name = "help",
        .args = "[COMMAND]",
        .args_max = 2,
        .options = OPTION(MAN),
        .summary = "this, or the help of one command",
        .examples = "  borgctl help submit\n"
                    "  borgctl help --man | man -l -",
        .run = cmd_help,
    },
    {.name = NULL},
};
