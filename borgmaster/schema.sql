-- schema.sql - views and indexes of cell.db, and the tables that are no records of libcell. The
-- other tables are made from libcell/model/fields.c; "borgmaster --print-schema" prints all of it.
-- A table here cannot get a column later without a new user_version; one of a record can.
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
-- A release of a later format adds columns and tables; what earlier ones know stays as it is. A
-- change that earlier releases could not read raises user_version: they refuse the file.

PRAGMA application_id = 1114600039; -- "Borg"
PRAGMA user_version = 7;

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
    next_replica  INTEGER NOT NULL, -- number of the next one; 0: who they are is not known yet
    format        INTEGER NOT NULL  -- that the cell has agreed on (0: none yet, 1). No row uses
                                    -- a later one, and a release that does not know it refuses the
                                    -- file
);
INSERT INTO meta VALUES (1, 0, 0, 0, 0, 1, 0, '', 'stranding-aware', 'off', 0, '', 0, 0);

-- Resources that the machines of this cell named (borglet --resource): what the columns named1 to
-- named3 count.
CREATE TABLE resource_names (
    slot INTEGER PRIMARY KEY, -- 1 to 3
    name TEXT    NOT NULL
);

-- What a machine says of itself, for the constraints of jobs: os, arch, rack, ...
CREATE TABLE machine_attributes (
    machine_id INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    PRIMARY KEY (machine_id, key)
) WITHOUT ROWID;

-- A job as it was submitted, but for what may change: replicas, priority and limits are 0 here,
-- jobs has them. It may be long, so it is apart from jobs, whose rows change all the time.
CREATE TABLE job_specs_private_rows (
    job_id    INTEGER PRIMARY KEY,
    command   TEXT NOT NULL, -- for reading; quoted where a shell would need it
    spec      BLOB NOT NULL, -- msgpack, see libcell/proto/cmd_pack.h; the environment is in it
    spec_json TEXT NOT NULL  -- the same for json_extract()
);

-- (tables of records)

CREATE INDEX machines_by_name ON machines (name);
CREATE INDEX jobs_by_name ON jobs (name);
CREATE INDEX tasks_by_machine ON tasks (machine_id) WHERE machine_id IS NOT NULL;
CREATE INDEX tasks_by_alloc ON tasks (alloc_job_id, alloc_idx) WHERE alloc_job_id IS NOT NULL;
CREATE INDEX events_by_job ON events (job_name) WHERE job_name IS NOT NULL;
CREATE INDEX events_by_task ON events (job_name, task_index) WHERE task_index IS NOT NULL;

-- Command and spec: on a live replica NULL but for the job's user and for who may read everything.
CREATE VIEW job_specs AS SELECT job_id, command, spec, spec_json FROM job_specs_private_rows;

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
