-- schema.sql - the tables and views of cell.db.
--
-- You are probably here because something is wrong. What to know first:
--
--  * This database is a picture of the cell, written by borgmaster as the Raft log is applied. Read
--    as you like; never write: every page ends with a checksum that only borgmaster keeps, and a
--    replica that reads a page without it sets the file aside and fills a new one.
--  * Start with the views: job_list, task_list, alloc_list, machine_list, pending_list,
--    event_list, quota_list. They have names instead of ids. The tables below them are what the
--    views are made of.
--  * Times are milliseconds since 1970 of the cell's clock; to read them,
--    datetime(changed_ms / 1000, 'unixepoch'). cpu_milli are thousandths of a cpu, gpu_milli of a
--    gpu; named1 to named3 count what resource_names says, if anything.
--  * "borgctl query" reads a live replica; "sqlite3 cell.db" reads a checkpoint or a stopped one.
--  * What is private to a job's user stands in the tables *_private_rows. A live replica does not
--    let queries name them: job_specs and requests show who asks what is his (store_reader.c).
--
-- Every change here raises user_version; store_open() refuses versions it does not know.

PRAGMA application_id = 1114600039; -- "Borg"
PRAGMA user_version = 6;

-- How far this picture goes. One row.
CREATE TABLE meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    applied_index INTEGER NOT NULL, -- of the last Raft entry in these tables
    applied_term  INTEGER NOT NULL,
    now_ms        INTEGER NOT NULL, -- the cell's clock: the latest time any command carried
    event_seq     INTEGER NOT NULL, -- of the last event
    next_job      INTEGER NOT NULL, -- id of the next job
    request_seq   INTEGER NOT NULL, -- of the last answer remembered
    digest        TEXT    NOT NULL, -- of the whole cell: equal on all replicas at equal index
    policy        TEXT    NOT NULL, -- of jobs whose policy is "cell"
    hold          TEXT    NOT NULL, -- on: a large share of the machines fell silent, and none is
                                    -- declared down; released: go on all the same; else off
    stored_index  INTEGER NOT NULL, -- committed, and on the disk of this replica's log
    cell          TEXT    NOT NULL, -- a hash of the cell's name and CA: files of cells do not mix
    next_replica  INTEGER NOT NULL  -- number of the next one; 0: who they are is not known yet
);
INSERT INTO meta VALUES (1, 0, 0, 0, 0, 1, 0, '', 'stranding-aware', 'off', 0, '', 0);

-- The masters. A replica that is joining may come with an empty directory; a member is counted on;
-- one that is leaving disappears when the log goes on without it. Numbers are never used again.
CREATE TABLE replicas (
    id    INTEGER PRIMARY KEY,
    rpc   TEXT    NOT NULL, -- where users and borglets find it
    raft  TEXT    NOT NULL, -- where the logs of the others find it
    state TEXT    NOT NULL  -- joining, member, leaving
);

-- Resources that the machines of this cell named (borglet --resource): what the columns named1 to
-- named3 count.
CREATE TABLE resource_names (
    slot INTEGER PRIMARY KEY, -- 1 to 3
    name TEXT    NOT NULL
);

-- Machines stay, also when they are down, until they are removed: then the row has no name, and the
-- next new machine gets it.
CREATE TABLE machines (
    id                 INTEGER PRIMARY KEY,
    name               TEXT    NOT NULL, -- no two have one; '' when removed
    addr               TEXT    NOT NULL, -- of its borglet
    state              TEXT    NOT NULL, -- up, down, removed
    cpu_milli          INTEGER NOT NULL, -- capacity
    ram_bytes          INTEGER NOT NULL,
    disk_bytes         INTEGER NOT NULL,
    ports              INTEGER NOT NULL, -- how many
    gpu_milli          INTEGER NOT NULL,
    named1             INTEGER NOT NULL,
    named2             INTEGER NOT NULL,
    named3             INTEGER NOT NULL,
    reserved_cpu_milli INTEGER NOT NULL, -- the limits of the tasks there, those stopping included
    reserved_ram_bytes INTEGER NOT NULL,
    reserved_disk_bytes INTEGER NOT NULL,
    reserved_ports     INTEGER NOT NULL,
    reserved_gpu_milli INTEGER NOT NULL,
    reserved_named1    INTEGER NOT NULL,
    reserved_named2    INTEGER NOT NULL,
    reserved_named3    INTEGER NOT NULL,
    task_count         INTEGER NOT NULL, -- assigned and running
    changed_ms         INTEGER NOT NULL,
    draining           INTEGER NOT NULL, -- 1: gets no new work until it is undrained
    used_cpu_milli      INTEGER NOT NULL, -- by the tasks there, those stopping not included
    used_ram_bytes      INTEGER NOT NULL,
    reclaimed_cpu_milli INTEGER NOT NULL, -- of their limits: work below production may have it
    reclaimed_ram_bytes INTEGER NOT NULL,
    instance            INTEGER NOT NULL, -- which borglet of this name it is, a random number
    rival               INTEGER NOT NULL, -- another one that was refused last; 0: none
    rival_ms            INTEGER NOT NULL, -- and when; 0: never
    faults              TEXT    NOT NULL, -- JSON list: tasks it could not start since it last
                                          -- started one, as job id * 1048576 + index
    sick_rounds         INTEGER NOT NULL, -- times that it was sick since then
    sick_until_ms       INTEGER NOT NULL, -- it gets no work until then; 0: it is well
    unconfirmed         INTEGER NOT NULL, -- attempts that ran there when it fell silent: whether
                                          -- their processes are gone is not known
    left_behind         TEXT    NOT NULL, -- JSON list of those: a task, an attempt, ...
    directory           INTEGER NOT NULL, -- of its borglet, a random number
    left_foreign        INTEGER NOT NULL  -- of those left, so many, the first, ran under a borglet
                                          -- with another directory: this one cannot speak for it
);
CREATE INDEX machines_by_name ON machines (name);

-- What a machine says of itself, for the constraints of jobs: os, arch, rack, ...
CREATE TABLE machine_attributes (
    machine_id INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    PRIMARY KEY (machine_id, key)
) WITHOUT ROWID;

-- A dead job (all its tasks have ended) stays for a while and may share its name with a newer one:
-- the one with the largest id is meant when somebody says the name.
CREATE TABLE jobs (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL,
    user         TEXT    NOT NULL,
    priority     INTEGER NOT NULL, -- 0 to 450
    band         TEXT    NOT NULL, -- free, batch, production, monitoring
    appclass     TEXT    NOT NULL, -- batch, latency-sensitive
    policy       TEXT    NOT NULL, -- how to choose a machine: best-fit, ..., or cell: see meta
    replicas     INTEGER NOT NULL,
    cpu_milli    INTEGER NOT NULL, -- limits of one task, in its first shape: see job_limits
    ram_bytes    INTEGER NOT NULL,
    disk_bytes   INTEGER NOT NULL,
    ports        INTEGER NOT NULL,
    gpu_milli    INTEGER NOT NULL,
    named1       INTEGER NOT NULL,
    named2       INTEGER NOT NULL,
    named3       INTEGER NOT NULL,
    submitted_ms INTEGER NOT NULL,
    state        TEXT    NOT NULL, -- pending, idle, running, stopping, finished, failed, killed
    dead         INTEGER NOT NULL, -- 1: all its tasks have ended
    killed       INTEGER NOT NULL, -- 1: told to end by its user
    pending      INTEGER NOT NULL, -- tasks per state; they add up to task_count
    assigned     INTEGER NOT NULL,
    running      INTEGER NOT NULL,
    finished     INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    killed_tasks INTEGER NOT NULL,
    stopping     INTEGER NOT NULL, -- of those assigned and running: told to stop
    reason       TEXT    NOT NULL, -- why the pending ones are pending; '' when none are
    changed_ms   INTEGER NOT NULL,
    disrupted    INTEGER NOT NULL, -- tasks down for the cell's own reasons: preempted, drained
    max_disruptions INTEGER NOT NULL, -- so many may be at once; 0: no bound
    task_count   INTEGER NOT NULL, -- rows in tasks: those from replicas on have ended or are killed
    gang         INTEGER NOT NULL, -- 1: tasks that wait start all at once or not at all
    is_alloc_set INTEGER NOT NULL, -- 1: its tasks are allocs, room for tasks of other jobs
    alloc_set    TEXT    NOT NULL, -- it runs in the allocs of this job; '': on machines
    every_machine INTEGER NOT NULL, -- 1: task I belongs on machine I + 1; replicas: all machines
    unwanted     INTEGER NOT NULL, -- tasks whose machine is down, draining or fails the
                                   -- constraints, or that would be over their user's quota
    unconfirmed  INTEGER NOT NULL  -- attempts that ran on machines which fell silent: see machines
);
CREATE INDEX jobs_by_name ON jobs (name);

-- Other limits that tasks of a job may hold: those in jobs are shape 1, what else the job takes is
-- 2, 3, 4 in order of preference. From 5 on they are from before an update of the job: tasks that
-- have not got the new one yet hold them, and some are left over.
CREATE TABLE job_limits (
    job_id     INTEGER NOT NULL,
    shape      INTEGER NOT NULL,
    cpu_milli  INTEGER NOT NULL,
    ram_bytes  INTEGER NOT NULL,
    disk_bytes INTEGER NOT NULL,
    ports      INTEGER NOT NULL,
    gpu_milli  INTEGER NOT NULL,
    named1     INTEGER NOT NULL, -- see resource_names
    named2     INTEGER NOT NULL,
    named3     INTEGER NOT NULL,
    PRIMARY KEY (job_id, shape)
) WITHOUT ROWID;

-- A job as it was submitted, but for what may change: replicas, priority and limits are 0 here,
-- jobs has them. It may be long, so it is apart from jobs, whose rows change all the time.
CREATE TABLE job_specs_private_rows (
    job_id  INTEGER PRIMARY KEY,
    command TEXT NOT NULL, -- for reading; quoted where a shell would need it
    spec    BLOB NOT NULL  -- msgpack, see libcell/proto/cmd_pack.h; the environment is in it
);

CREATE TABLE tasks (
    job_id        INTEGER NOT NULL,
    idx           INTEGER NOT NULL, -- 0 to jobs.task_count - 1; a task is called NAME/IDX
    state         TEXT    NOT NULL, -- pending, assigned, running, finished, failed, killed, or
                                    -- unwanted: of a job on every machine, not on this one now
    attempt       INTEGER NOT NULL, -- of the present or last run, from 1; 0: never assigned
    machine_id    INTEGER,          -- of the present attempt; NULL unless assigned or running
    cause         TEXT    NOT NULL, -- how the last attempt ended: exit, signal, preempted, ...
    stopping      TEXT    NOT NULL, -- told to stop: why; '' when not
    failures      INTEGER NOT NULL, -- attempts that ended by exit, signal or start error
    pid           INTEGER NOT NULL, -- on its machine; 0 when unknown
    exit_code     INTEGER NOT NULL, -- of the last attempt that ended; negative: the signal
    ports         TEXT    NOT NULL, -- JSON list, in the order of the spec's names
    not_before_ms INTEGER NOT NULL, -- backing off until then; 0: not. An assigned one that does
                                    -- keeps its place meanwhile, and nothing of it runs
    started_ms    INTEGER NOT NULL, -- when the present attempt was seen running
    changed_ms    INTEGER NOT NULL,
    alloc_job_id  INTEGER,          -- the alloc it is in, a task too; NULL: in none
    alloc_idx     INTEGER,
    gpus          TEXT    NOT NULL, -- JSON list: numbers of the gpus it has on its machine
    crashed_on_1  INTEGER,          -- the last machines where it failed, the latest first; NULL:
    crashed_on_2  INTEGER,          -- no more, or a healthy run made them forgotten
    crashed_on_3  INTEGER,
    used_cpu_milli INTEGER NOT NULL, -- as its borglet said last; 0: nothing yet
    used_ram_bytes INTEGER NOT NULL,
    reclaimed_cpu_percent INTEGER NOT NULL, -- of its limit: what is not kept for it
    reclaimed_ram_percent INTEGER NOT NULL,
    cpu_since_ms  INTEGER NOT NULL, -- when that last took a step, or began to
    ram_since_ms  INTEGER NOT NULL,
    shape         INTEGER NOT NULL, -- of the present attempt: see job_limits; 1 when it has none
    misstarts     INTEGER NOT NULL, -- starts in a row that failed by their machines' fault
    by_eviction   INTEGER NOT NULL, -- 1: others were evicted for it since it last was well
    PRIMARY KEY (job_id, idx)
) WITHOUT ROWID;
CREATE INDEX tasks_by_machine ON tasks (machine_id) WHERE machine_id IS NOT NULL;
CREATE INDEX tasks_by_alloc ON tasks (alloc_job_id, alloc_idx) WHERE alloc_job_id IS NOT NULL;

-- What a user may have at once in a band; NULL: no bound. The user * stands for everybody who has
-- no row of his own in the band.
CREATE TABLE quotas (
    user       TEXT    NOT NULL,
    band       TEXT    NOT NULL, -- batch, production, monitoring
    cpu_milli  INTEGER,
    ram_bytes  INTEGER,
    disk_bytes INTEGER,
    ports      INTEGER,
    gpu_milli  INTEGER,
    named1     INTEGER,
    named2     INTEGER,
    named3     INTEGER,
    tasks      INTEGER,
    PRIMARY KEY (user, band)
) WITHOUT ROWID;

-- Rights of users, and identities whose certificates are revoked. Who has neither has no row; the
-- user root always is an operator.
CREATE TABLE identities (
    identity   TEXT    PRIMARY KEY, -- as in the certificate: user/NAME, borglet/NAME, master/ID
    operator   INTEGER NOT NULL,    -- 1: keeps the cell, may do everything
    reader     INTEGER NOT NULL,    -- 1: reads logs, specs and environments of everybody's jobs
    production INTEGER NOT NULL,    -- 1: his jobs may be of this band
    monitoring INTEGER NOT NULL,    -- 1: the same
    revoked_ms INTEGER NOT NULL,    -- certificates issued until then do not count; 0: all do
    changed_ms INTEGER NOT NULL,
    changed_by TEXT    NOT NULL     -- user; '': the cell itself
) WITHOUT ROWID;

-- The history, the last million facts. Rows outlive the jobs they speak of.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY,
    time_ms    INTEGER NOT NULL,
    kind       TEXT    NOT NULL, -- submitted, assigned, running, finished, failed, evicting, ...;
                                 -- restored: this cell begins with a checkpoint of an earlier one
    job_id     INTEGER,          -- NULL: of a machine
    job_name   TEXT,
    task_index INTEGER,          -- NULL: of the whole job
    attempt    INTEGER NOT NULL,
    machine_id INTEGER,
    cause      TEXT    NOT NULL,
    exit_code  INTEGER NOT NULL,
    -- More in words. Of `waiting`: why. Of `assigned`: how the machine was chosen, as JSON:
    --   among      "all" machines; "woken": those where something changed for the better; "allocs":
    --              those of its set; "its-own"
    --   alloc      the one it is in
    --   shape      the one it has, when that is not the first
    --   runner_up  the machine that was next
    --   victims    tasks evicted for it: so many events before this one tell which
    --   scores     objects, the first decides first: stage: [this machine, the next one], the sum
    --              counts and the smaller is better
    detail     TEXT    NOT NULL,
    machine    TEXT             -- its name then; machine_id may be another's now
);
CREATE INDEX events_by_job ON events (job_name) WHERE job_name IS NOT NULL;
CREATE INDEX events_by_task ON events (job_name, task_index) WHERE task_index IS NOT NULL;

-- Answers given lately, so that a repeated command is answered and not carried out again. A ring:
-- a new row takes the place of an old one. A command that may be older than all of them is refused.
CREATE TABLE requests_private_rows (
    slot       INTEGER PRIMARY KEY,
    seq        INTEGER NOT NULL,
    id_high    INTEGER NOT NULL, -- the request's id, 128 bits as two signed numbers
    id_low     INTEGER NOT NULL,
    at_index   INTEGER NOT NULL, -- of the log entry that carried it out
    code       INTEGER NOT NULL, -- enum err_code, 0: accepted
    job_id     INTEGER NOT NULL,
    msg        TEXT    NOT NULL
);

-- Command and spec: on a live replica NULL but for the job's user and for who may read everything.
CREATE VIEW job_specs AS SELECT job_id, command, spec FROM job_specs_private_rows;

-- On a live replica without rows but for who may read everything.
CREATE VIEW requests AS
SELECT slot, seq, id_high, id_low, at_index, code, job_id, msg FROM requests_private_rows;

-- Jobs, the newest last. `WHERE NOT dead` for those that matter now.
CREATE VIEW job_list AS
SELECT j.name AS job, j.user, j.priority, j.band, j.state, j.replicas, j.pending, j.assigned,
       j.running, j.stopping, j.finished, j.failed, j.killed_tasks AS killed, j.reason,
       j.cpu_milli, j.ram_bytes, j.disk_bytes, j.ports, j.appclass, j.policy, j.submitted_ms,
       j.changed_ms, s.command, j.dead, j.disrupted, j.max_disruptions, j.gang, j.is_alloc_set,
       j.alloc_set, j.every_machine, j.unwanted, j.unconfirmed, j.id AS job_id, j.gpu_milli,
       (SELECT group_concat(name || '=' || amount, ' ') FROM (SELECT name,
            CASE slot WHEN 1 THEN j.named1 WHEN 2 THEN j.named2 ELSE j.named3 END AS amount
            FROM resource_names) WHERE amount > 0) AS named
FROM jobs j JOIN job_specs s ON s.job_id = j.id;

-- Tasks by name. A task that is told to stop is "stopping", whatever it is doing meanwhile; one
-- that failed and keeps its place until it is started again is "backing-off".
CREATE VIEW task_list AS
SELECT j.name || '/' || t.idx AS task, j.name AS job, t.idx, j.user, j.priority, j.band,
       CASE WHEN t.stopping <> '' THEN 'stopping'
            WHEN t.state = 'assigned' AND t.not_before_ms > 0 THEN 'backing-off'
            ELSE t.state END AS state,
       m.name AS machine, m.addr AS machine_addr, t.attempt, t.failures,
       rtrim(coalesce((SELECT name || ' ' FROM machines WHERE id = t.crashed_on_1), '') ||
             coalesce((SELECT name || ' ' FROM machines WHERE id = t.crashed_on_2), '') ||
             coalesce((SELECT name FROM machines WHERE id = t.crashed_on_3), '')) AS crashed_on,
       CASE WHEN t.stopping <> '' THEN t.stopping ELSE t.cause END AS cause,
       t.exit_code, t.pid, t.ports, t.started_ms, t.not_before_ms, t.changed_ms, j.dead, t.job_id,
       a.name || '/' || t.alloc_idx AS alloc, j.is_alloc_set, t.gpus, t.shape, t.misstarts,
       coalesce(l.cpu_milli, j.cpu_milli) AS cpu_milli,
       coalesce(l.ram_bytes, j.ram_bytes) AS ram_bytes,
       coalesce(l.disk_bytes, j.disk_bytes) AS disk_bytes,
       coalesce(l.gpu_milli, j.gpu_milli) AS gpu_milli,
       t.used_cpu_milli,
       coalesce(l.cpu_milli, j.cpu_milli) -
       coalesce(l.cpu_milli, j.cpu_milli) * t.reclaimed_cpu_percent / 100 AS kept_cpu_milli,
       t.used_ram_bytes,
       coalesce(l.ram_bytes, j.ram_bytes) -
       (coalesce(l.ram_bytes, j.ram_bytes) / 100 * t.reclaimed_ram_percent +
       coalesce(l.ram_bytes, j.ram_bytes) % 100 * t.reclaimed_ram_percent / 100) AS kept_ram_bytes
FROM tasks t JOIN jobs j ON j.id = t.job_id LEFT JOIN machines m ON m.id = t.machine_id
LEFT JOIN jobs a ON a.id = t.alloc_job_id
LEFT JOIN job_limits l ON l.job_id = t.job_id AND l.shape = t.shape;

-- Allocs, and what the tasks in them take of what they have; those that are stopping included.
CREATE VIEW alloc_list AS
SELECT j.name || '/' || t.idx AS alloc, j.name AS alloc_set, t.idx, j.user, j.priority, j.band,
       CASE WHEN t.stopping <> '' THEN 'stopping' ELSE t.state END AS state, m.name AS machine,
       CASE WHEN t.stopping <> '' THEN t.stopping ELSE t.cause END AS cause,
       count(i.job_id) AS tasks,
       j.cpu_milli, coalesce(sum(coalesce(l.cpu_milli, ij.cpu_milli)), 0) AS cpu_used_milli,
       j.ram_bytes, coalesce(sum(coalesce(l.ram_bytes, ij.ram_bytes)), 0) AS ram_used_bytes,
       j.disk_bytes, coalesce(sum(coalesce(l.disk_bytes, ij.disk_bytes)), 0) AS disk_used_bytes,
       j.ports, coalesce(sum(ij.ports), 0) AS ports_used, t.changed_ms, t.job_id,
       j.gpu_milli, coalesce(sum(coalesce(l.gpu_milli, ij.gpu_milli)), 0) AS gpu_used_milli,
       j.named1, coalesce(sum(coalesce(l.named1, ij.named1)), 0) AS named1_used,
       j.named2, coalesce(sum(coalesce(l.named2, ij.named2)), 0) AS named2_used,
       j.named3, coalesce(sum(coalesce(l.named3, ij.named3)), 0) AS named3_used
FROM jobs j JOIN tasks t ON t.job_id = j.id LEFT JOIN machines m ON m.id = t.machine_id
LEFT JOIN tasks i ON i.alloc_job_id = t.job_id AND i.alloc_idx = t.idx
LEFT JOIN jobs ij ON ij.id = i.job_id
LEFT JOIN job_limits l ON l.job_id = i.job_id AND l.shape = i.shape
WHERE j.is_alloc_set AND NOT j.dead GROUP BY t.job_id, t.idx;

-- Machines and what is free there for new work; what is stopping is not free yet, and what is
-- reclaimed comes on top, for work below production. A free amount below zero: there is work in
-- reclaimed room, or the machine came back smaller, and what is too much there is being stopped.
CREATE VIEW machine_list AS
SELECT name AS machine, addr,
       CASE WHEN draining AND state = 'up' THEN 'draining'
            WHEN sick_until_ms > 0 AND state = 'up' THEN 'sick' ELSE state END AS state,
       task_count AS tasks,
       cpu_milli, cpu_milli - reserved_cpu_milli AS cpu_free_milli,
       ram_bytes, ram_bytes - reserved_ram_bytes AS ram_free_bytes,
       disk_bytes, disk_bytes - reserved_disk_bytes AS disk_free_bytes,
       ports, ports - reserved_ports AS ports_free,
       used_cpu_milli, reclaimed_cpu_milli, used_ram_bytes, reclaimed_ram_bytes,
       gpu_milli, gpu_milli - reserved_gpu_milli AS gpu_free_milli,
       (SELECT group_concat(name || '=' || amount, ' ') FROM (SELECT name,
            CASE slot WHEN 1 THEN named1 WHEN 2 THEN named2 ELSE named3 END AS amount
            FROM resource_names) WHERE amount > 0) AS named,
       (SELECT group_concat(name || '=' || (amount - taken), ' ') FROM (SELECT name,
            CASE slot WHEN 1 THEN named1 WHEN 2 THEN named2 ELSE named3 END AS amount,
            CASE slot WHEN 1 THEN reserved_named1 WHEN 2 THEN reserved_named2
            ELSE reserved_named3 END AS taken
            FROM resource_names) WHERE amount > 0) AS named_free,
       (SELECT group_concat(key || '=' || value, ' ') FROM machine_attributes a
        WHERE a.machine_id = machines.id) AS attributes, changed_ms, draining, id AS machine_id,
       unconfirmed, sick_until_ms, rival_ms
FROM machines WHERE state <> 'removed';

-- Machines that use more cpu than they have, and in which order their tasks are to be slowed down:
-- batch before latency-sensitive, then the lowest priority, then who uses most.
CREATE VIEW throttle_list AS
SELECT m.name AS machine, j.name || '/' || t.idx AS task, j.appclass, j.priority, t.used_cpu_milli
FROM machines m JOIN tasks t ON t.machine_id = m.id JOIN jobs j ON j.id = t.job_id
WHERE m.used_cpu_milli > m.cpu_milli AND t.used_cpu_milli > 0 AND t.stopping = ''
ORDER BY m.id, j.appclass, j.priority, t.used_cpu_milli DESC;

-- What waits, in the order in which it will be served, and why.
CREATE VIEW pending_list AS
SELECT j.name AS job, j.user, j.priority, j.band, j.pending, j.reason,
       j.cpu_milli, j.ram_bytes, j.disk_bytes, j.ports, j.submitted_ms, j.id AS job_id, j.gpu_milli,
       (SELECT group_concat(name || '=' || amount, ' ') FROM (SELECT name,
            CASE slot WHEN 1 THEN j.named1 WHEN 2 THEN j.named2 ELSE j.named3 END AS amount
            FROM resource_names) WHERE amount > 0) AS named
FROM jobs j WHERE j.pending > 0 ORDER BY j.priority DESC, j.id;

-- What each user has (limits times wanted tasks of his live jobs; of several shapes the most of
-- each resource; those in an alloc set take nothing beside it) and may have; "by" says whose quota
-- that is: his own, everybody's (*), or '' for none.
CREATE VIEW quota_list AS
WITH asking AS (
    SELECT j.user, j.band, j.replicas - j.unwanted AS tasks,
           iif(j.alloc_set = '', j.replicas - j.unwanted, 0) AS taking, j.ports,
           max(j.cpu_milli, coalesce(max(l.cpu_milli), 0)) AS cpu_milli,
           max(j.ram_bytes, coalesce(max(l.ram_bytes), 0)) AS ram_bytes,
           max(j.disk_bytes, coalesce(max(l.disk_bytes), 0)) AS disk_bytes,
           max(j.gpu_milli, coalesce(max(l.gpu_milli), 0)) AS gpu_milli,
           max(j.named1, coalesce(max(l.named1), 0)) AS named1,
           max(j.named2, coalesce(max(l.named2), 0)) AS named2,
           max(j.named3, coalesce(max(l.named3), 0)) AS named3
    FROM jobs j LEFT JOIN job_limits l ON l.job_id = j.id AND l.shape <= 4
    WHERE NOT j.dead GROUP BY j.id
), used AS (
    SELECT user, band, sum(tasks) AS tasks, total(taking * cpu_milli) AS cpu_milli,
           total(taking * ram_bytes) AS ram_bytes, total(taking * disk_bytes) AS disk_bytes,
           sum(taking * ports) AS ports, sum(taking * gpu_milli) AS gpu_milli,
           total(taking * named1) AS named1, total(taking * named2) AS named2,
           total(taking * named3) AS named3
    FROM asking GROUP BY user, band
), known AS (
    SELECT user, band FROM quotas UNION SELECT user, band FROM used
)
SELECT k.user, k.band, coalesce(o.user, e.user, '') AS by,
       coalesce(u.tasks, 0) AS tasks_used,
       iif(o.user IS NOT NULL, o.tasks, e.tasks) AS tasks,
       CAST(min(coalesce(u.cpu_milli, 0), 9e18) AS INTEGER) AS cpu_used_milli,
       iif(o.user IS NOT NULL, o.cpu_milli, e.cpu_milli) AS cpu_milli,
       CAST(min(coalesce(u.ram_bytes, 0), 9e18) AS INTEGER) AS ram_used_bytes,
       iif(o.user IS NOT NULL, o.ram_bytes, e.ram_bytes) AS ram_bytes,
       CAST(min(coalesce(u.disk_bytes, 0), 9e18) AS INTEGER) AS disk_used_bytes,
       iif(o.user IS NOT NULL, o.disk_bytes, e.disk_bytes) AS disk_bytes,
       coalesce(u.ports, 0) AS ports_used,
       iif(o.user IS NOT NULL, o.ports, e.ports) AS ports,
       coalesce(u.gpu_milli, 0) AS gpu_used_milli,
       iif(o.user IS NOT NULL, o.gpu_milli, e.gpu_milli) AS gpu_milli,
       (SELECT group_concat(name || '=' || CAST(min(amount, 9e18) AS INTEGER), ' ')
            FROM (SELECT name, coalesce(
            CASE slot WHEN 1 THEN u.named1 WHEN 2 THEN u.named2 ELSE u.named3 END, 0) AS amount
            FROM resource_names)) AS named_used,
       (SELECT group_concat(name || '=' || amount, ' ') FROM (SELECT name, CASE slot
            WHEN 1 THEN iif(o.user IS NOT NULL, o.named1, e.named1)
            WHEN 2 THEN iif(o.user IS NOT NULL, o.named2, e.named2)
            ELSE iif(o.user IS NOT NULL, o.named3, e.named3) END AS amount
            FROM resource_names) WHERE amount NOTNULL) AS named
FROM known k
LEFT JOIN quotas o ON o.user = k.user AND o.band = k.band
LEFT JOIN quotas e ON e.user = '*' AND e.band = k.band
LEFT JOIN used u ON u.user = k.user AND u.band = k.band
ORDER BY k.user, k.band;

-- What happened, with names. `ORDER BY seq DESC LIMIT 50` for the latest.
CREATE VIEW event_list AS
SELECT e.seq, e.time_ms, datetime(e.time_ms / 1000, 'unixepoch') AS time, e.kind,
       e.job_name AS job, e.task_index AS idx,
       CASE WHEN e.task_index IS NULL THEN e.job_name
            ELSE e.job_name || '/' || e.task_index END AS task,
       e.attempt, e.machine, e.cause, e.exit_code, e.detail, e.job_id
FROM events e;
