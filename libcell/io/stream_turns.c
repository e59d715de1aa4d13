/*
 * stream_turns.c - limits on handshake steps and on closed connections per turn of a loop.
 */
#include "stream_impl.h"

enum {
    TURN_STEPS_MAX = 16, /* handshake steps, about half a millisecond each */
    TURN_ENDS_MAX = 64,  /* streams closed */
};

struct turn {
    uint64_t ms;
    unsigned count;
};

/* Return whether the turn has room. When a whole cell connects at once the loop must keep its
 * timers (Raft's among them) on time, so further steps wait for the next turn. The loop's time
 * identifies the turn. */
static bool turn_has_room(struct turn *turn, const uv_loop_t *loop, unsigned max)
{
    uint64_t now_ms = uv_now(loop);
    if (now_ms != turn->ms)
        *turn = (struct turn){.ms = now_ms};
    return turn->count++ < max;
}

bool stream_may_handshake(const uv_loop_t *loop)
{
    static _Thread_local struct turn turn;
    return turn_has_room(&turn, loop, TURN_STEPS_MAX);
}

bool stream_may_end(const uv_loop_t *loop)
{
    static _Thread_local struct turn turn;
    return turn_has_room(&turn, loop, TURN_ENDS_MAX);
}

/* Waiting handshakes; those that have begun are served first, each group in order of arrival.
 * Work already spent is therefore completed; otherwise thousands would be half done at their
 * time-out and start again. */
static struct handshake_queue {
    struct list begun, fresh;
} * stream_handshake_queue(void)
{
    static _Thread_local struct handshake_queue handshake_queue;
    if (handshake_queue.begun.next == NULL) {
        list_init(&handshake_queue.begun);
        list_init(&handshake_queue.fresh);
    }
    return &handshake_queue;
}

static struct stream *stream_shake_first(struct list *list, const uv_loop_t *loop)
{
    LIST_EACH(l, list)
    {
        struct stream *s = CONTAINER_OF(l, struct stream, step_link);
        if (s->options.loop == loop)
            return s;
    }
    return NULL;
}

struct stream *stream_handshake_next(const uv_loop_t *loop)
{
    struct stream *s = stream_shake_first(&stream_handshake_queue()->begun, loop);
    return s != NULL ? s : stream_shake_first(&stream_handshake_queue()->fresh, loop);
}

void stream_handshake_wait(struct stream *s, bool begun)
{
    list_push(begun ? &stream_handshake_queue()->begun : &stream_handshake_queue()->fresh,
              &s->step_link);
}
