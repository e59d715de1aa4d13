/*
 * raftlog_impl.h - what raftlog.c and raftlog_fsm.c share. Nobody else includes it.
 */
#ifndef RAFTLOG_IMPL_H
#define RAFTLOG_IMPL_H

#include "raftlog.h"

#include "raftlog_acked.h"
#include "raftlog_guard.h"
#include "raftlog_seal.h"
#include "raftlog_transport.h"

enum {
    RAFTLOG_FRAME_BYTES = 24,       /* before the bytes of an entry */
    RAFTLOG_IMAGE_HEAD_BYTES = 48,  /* before the bytes of a snapshot */
    RAFTLOG_BARRIERS_MAX = 65536,   /* requests that wait for a barrier */
    RAFTLOG_BARRIER_GROUPS_MAX = 4, /* barrier entries under way */
};

/* What to do about damaged files; %" PRIu64 " is our number. */
#define RAFTLOG_REMEDY \
    "replace this replica: borgctl cell replace-replica %" PRIu64 " --addr HOST:PORT"

struct raftlog {
    uv_loop_t *loop;
    struct raftlog_options options; /* its pointers are borrowed, except dir */
    char *dir;
    int dir_fd; /* holds the lock on the directory */
    struct raftlog_seal seal;
    struct raftlog_acked acked;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raftlog_guard guard;
    struct raftlog_transport transport;

    uv_prepare_t prepare; /* looks for a change of role: the library has no callback for that */
    uv_idle_t idle;       /* runs when there is something to submit or to answer */
    uv_timer_t watch;     /* looks at the disk */
    uv_timer_t tell;      /* followers that do not know what is committed will be told */
    uint64_t tell_index;
    unsigned handles; /* of these, those that close last and are open */

    enum raftlog_role role; /* as last told by on_role */
    uint64_t term;
    uint64_t leader_id;

    struct list proposals_waiting; /* to be submitted in the next loop turn */
    struct list proposals_sent;
    struct list proposals_done; /* to be answered in the next loop turn */
    size_t proposals_count;     /* in the three lists */
    struct list barriers_waiting;
    struct list barriers_done;
    size_t barriers_count; /* in these lists and in groups */
    unsigned barrier_groups;

    uint64_t applied_index; /* last entry given to on_apply, or of the snapshot restored */
    void *snapshot_token;   /* of the snapshot being written */
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    struct raftlog_prepare {
        uv_work_t work;
        struct raft_buffer image; /* the guard's */
        void *token;              /* the handlers', until it is restored or dropped */
        bool ok;
        bool busy;
    } prepare_image;
    bool raft_closed;       /* while an image was being prepared: the rest follows */
    struct err restore_err; /* why what the disk had was refused */

    struct raftlog_transfer {
        bool wanted; /* from raftlog_transfer() until it is answered */
        bool sent;   /* the library knows */
        bool done;   /* it knows no more */
        uint64_t to;
        uint64_t
            deadline_ms; /* of what is under way, before it is sent; of the next leader, after */
        raftlog_transfer_cb cb;
        void *data;
        struct raft_transfer req;
    } transfer;

    struct raft_change change; /* of the step under way */
    bool changing;
    raft_term change_term; /* the library forgets it with its leadership */

    uint64_t applied_bytes; /* of entries, since the last snapshot was begun */

    uint64_t stored_index;                      /* as last seen */
    uint64_t stored_ms;                         /* when it last moved, or an entry began to wait */
    uint64_t looked_ms;                         /* when we last looked */
    bool disk_waits;                            /* entries were waiting when we last looked */
    uint64_t disk_wait_ms, disk_wait_ms_before; /* the longest in this window, in the one before */
    uint64_t ahead_ms;       /* another has had what waits since then; 0: nobody has */
    uint64_t disk_behind_ms; /* for so long */
    unsigned slow_writes;    /* one after the other, as in GIVE_WAY_EACH_MS */
    uint64_t gave_way_ms;    /* when we last wanted to hand over because of it; 0: never */
    uint64_t disk_window_ms; /* when this one began */
    bool disk_slow;          /* and we have said so */

    bool loading; /* raft_start has not got what is on the disk yet */
    bool started; /* raft_start succeeded */
    bool failed;  /* on_fatal was called */
    bool closing;
    bool close_begun; /* the library knows */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Call on_fatal, the first time. `msg` says what happened. */
void raftlog_fail(struct raftlog *log, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* raftlog.c */
bool raftlog_leads(const struct raftlog *log);
uint64_t raftlog_leader(const struct raftlog *log); /* its id, 0 when none is known */
int raftlog_refuse(const struct raftlog *log, struct err *err);
void raftlog_kick(struct raftlog *log); /* there is something for the idle handle */

/* raftlog_member.c. Each loop turn, and before and after submitting. */
void raftlog_transfer_watch(struct raftlog *log);
void raftlog_transfer_send(struct raftlog *log);
void raftlog_transfer_answer(struct raftlog *log);

/* raftlog_fsm.c: the library's view of the replicated state machine. */
void raftlog_fsm_init(struct raftlog *log);
/* An entry with its frame, from raft_malloc. */
struct raft_buffer raftlog_frame(const void *bytes, size_t size);
/* What stands before the bytes of a snapshot; the caller frees it. */
struct raft_buffer raftlog_image_head(uint64_t index, uint64_t term, uint64_t cell,
                                      const void *bytes, size_t size);
/* What files call the cell. */
uint64_t raftlog_cell(const char *name);
/* Put into the frame where in which log it belongs. */
void raftlog_frame_address(struct raft_buffer *frame, uint64_t index, uint64_t cell);
/* For the guard: is what the disk had one log, whole, and ours? */
int raftlog_on_loaded(void *data, const struct raft_snapshot *snapshot, raft_index start_index,
                      const struct raft_entry *entries, size_t n);
bool raftlog_image_ok(void *data, const struct raft_buffer *image);
void raftlog_image_prepare(void *data, const struct raft_buffer *image);
/* What was prepared, if anything, will not be restored. */
void raftlog_image_unprepare(void *data);
/* raftlog.c: what waited for the image that was being prepared. */
void raftlog_closed(struct raftlog *log);

#endif
