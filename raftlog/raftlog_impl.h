/*
 * raftlog_impl.h - declarations shared by the files of the log; for them only.
 */
#ifndef RAFTLOG_IMPL_H
#define RAFTLOG_IMPL_H

#include "raftlog.h"

#include "raftlog_acked.h"
#include "raftlog_guard.h"
#include "raftlog_seal.h"
#include "raftlog_transport.h"

enum {
    RAFTLOG_FRAME_BYTES = 24,       /* header before the bytes of an entry */
    RAFTLOG_IMAGE_HEAD_BYTES = 48,  /* header before the bytes of a snapshot */
    RAFTLOG_BARRIERS_MAX = 65536,   /* requests that wait for a barrier */
    RAFTLOG_BARRIER_GROUPS_MAX = 4, /* barrier entries in flight */
};

/* The remedy for damaged files; %" PRIu64 " is our number. */
#define RAFTLOG_REMEDY \
    "replace this replica: borgctl cell replace-replica %" PRIu64 " --addr HOST:PORT"

struct raftlog {
    uv_loop_t *loop;
    struct raftlog_options options; /* the pointers are borrowed, except dir */
    char *dir;
    int dir_fd; /* holds the lock on the directory */
    struct raftlog_seal seal;
    struct raftlog_acked acked;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raftlog_guard guard;
    struct raftlog_transport transport;

    uv_prepare_t prepare;    /* detects changes of role: the library has no callback for them */
    uv_idle_t idle;          /* active when there is something to submit or to answer */
    uv_timer_t watch;        /* checks the disk */
    uv_timer_t commit_timer; /* sends the commit index to followers that do not have it */
    uint64_t commit_send_index;
    unsigned handles; /* number of open handles among those that close last */

    enum raftlog_role role; /* last value passed to on_role */
    uint64_t term;
    uint64_t leader_id;

    struct list proposals_waiting; /* submitted in the next loop turn */
    struct list proposals_sent;
    struct list proposals_done; /* answered in the next loop turn */
    size_t proposals_count;     /* in all three lists */
    struct list barriers_waiting;
    struct list barriers_done;
    size_t barriers_count; /* in these lists and in groups */
    unsigned barrier_groups;

    uint64_t applied_index; /* last entry passed to on_apply or contained in the restored
                               snapshot */
    void *snapshot_token;   /* of the snapshot being written */
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    struct raftlog_prepare {
        uv_work_t work;
        struct raft_buffer image; /* the guard's */
        void *token;              /* the handlers' token, until the image is restored or dropped */
        bool ok;
        bool busy;
    } prepare_image;
    bool raft_closed;       /* closed while an image was being prepared; the rest follows */
    struct err restore_err; /* the reason why loaded data was refused */

    struct raftlog_transfer {
        bool wanted; /* from raftlog_transfer() until the answer */
        bool sent;   /* passed to the library */
        bool done;   /* finished in the library */
        uint64_t to;
        uint64_t deadline_ms; /* before sending: for proposals in flight; after: for the next
                                 leader */
        raftlog_transfer_cb cb;
        void *data;
        struct raft_transfer req;
    } transfer;

    struct raft_change change; /* the step in progress */
    bool changing;
    raft_term change_term; /* its term; the library forgets the change when it loses leadership */

    uint64_t applied_bytes; /* bytes of entries since the last snapshot began */

    uint64_t stored_index; /* at the last check */
    uint64_t stored_ms;    /* when it last increased, or when an entry began to wait */
    uint64_t checked_ms;   /* time of the last check */
    bool disk_waits;       /* entries were waiting at the last check */
    uint64_t disk_wait_ms, disk_wait_ms_before; /* longest wait in this window and in the one
                                                   before */
    uint64_t
        other_ahead_ms; /* since when another replica has stored what waits here; 0: none has */
    uint64_t disk_behind_ms; /* how long ago that was */
    unsigned slow_writes;    /* consecutive writes slower by HANDOVER_EACH_MS */
    uint64_t handover_ms;    /* time of the last attempt to hand over for that reason; 0: never */
    uint64_t disk_window_ms; /* beginning of this window */
    bool disk_slow;          /* a slow disk has been logged */

    bool loading; /* raft_start has not loaded the data yet */
    bool started; /* raft_start succeeded */
    bool failed;  /* on_fatal was called */
    bool closing;
    bool close_begun; /* the library has been asked to close */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Call on_fatal on the first failure. */
void raftlog_fail(struct raftlog *log, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* raftlog.c */
bool raftlog_leads(const struct raftlog *log);
uint64_t raftlog_leader(const struct raftlog *log); /* its id, 0 when none is known */
int raftlog_refuse(const struct raftlog *log, struct err *err);
void raftlog_schedule(struct raftlog *log); /* schedule the idle handle */

/* raftlog_member.c: called in each loop turn, and before and after submitting. */
void raftlog_transfer_watch(struct raftlog *log);
void raftlog_transfer_send(struct raftlog *log);
void raftlog_transfer_answer(struct raftlog *log);

/* raftlog_fsm.c: the state machine as the library sees it. */
void raftlog_fsm_init(struct raftlog *log);
/* Return an entry with its frame, allocated by raft_malloc. */
struct raft_buffer raftlog_frame(const void *bytes, size_t size);
/* Return the header of a snapshot; the caller frees it. */
struct raft_buffer raftlog_image_head(uint64_t index, uint64_t term, uint64_t cell,
                                      const void *bytes, size_t size);
/* Return the number that stands for the cell in files. */
uint64_t raftlog_cell(const char *name);
/* Write the position of an entry and the number of its log into its frame. */
void raftlog_frame_address(struct raft_buffer *frame, uint64_t index, uint64_t cell);
/* For the guard: check that the loaded data is one complete log of this replica. */
int raftlog_on_loaded(void *data, const struct raft_snapshot *snapshot, raft_index start_index,
                      const struct raft_entry *entries, size_t n);
bool raftlog_image_ok(void *data, const struct raft_buffer *image);
void raftlog_image_prepare(void *data, const struct raft_buffer *image);
/* The prepared image, if any, will not be restored. */
void raftlog_image_unprepare(void *data);
/* raftlog.c: finish a close that waited for an image in preparation. */
void raftlog_closed(struct raftlog *log);

#endif
