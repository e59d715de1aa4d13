/*
 * stream_turns.c - how many handshakes go on, and how many connections end, in one turn of a loop.
 */
#include "stream_impl.h"

enum {
    TURN_SHAKES_MAX = 16, /* steps of handshakes, about half a millisecond each */
    TURN_ENDS_MAX = 64,   /* streams that end */
};

struct turn {
    uint64_t ms;
    unsigned count;
};

/*
 * When a whole cell connects at once the loop must go on beating (Raft's timers are on it): more
 * steps than a turn may hold wait for the next. Turns are told apart by the loop's time.
 */
static bool turn_has_room(struct turn *turn, const uv_loop_t *loop, unsigned max)
{
    uint64_t now_ms = uv_now(loop);
    if (now_ms != turn->ms)
        *turn = (struct turn){.ms = now_ms};
    return turn->count++ < max;
}

bool stream_may_shake(const uv_loop_t *loop)
{
    static _Thread_local struct turn turn;
    return turn_has_room(&turn, loop, TURN_SHAKES_MAX);
}

bool stream_may_end(const uv_loop_t *loop)
{
    static _Thread_local struct turn turn;
    return turn_has_room(&turn, loop, TURN_ENDS_MAX);
}

/*
 * Of those that wait, the ones that have begun go first, each kind in the order in which it came.
 * So what has cost something is brought to its end: otherwise thousands would all be half done when
 * their time is over, and come again.
 */
static struct shakes {
    struct list begun, fresh;
} * stream_shakes(void)
{
    static _Thread_local struct shakes shakes;
    if (shakes.begun.next == NULL) {
        list_init(&shakes.begun);
        list_init(&shakes.fresh);
    }
    return &shakes;
}

static struct stream *stream_shake_first(struct list *list, const uv_loop_t *loop)
{
    LIST_EACH(l, list)
    {
        struct stream *s = CONTAINER_OF(l, struct stream, shake_link);
        if (s->options.loop == loop)
            return s;
    }
    return NULL;
}

struct stream *stream_shake_next(const uv_loop_t *loop)
{
    struct stream *s = stream_shake_first(&stream_shakes()->begun, loop);
    return s != NULL ? s : stream_shake_first(&stream_shakes()->fresh, loop);
}

void stream_shake_wait(struct stream *s, bool begun)
{
    list_push(begun ? &stream_shakes()->begun : &stream_shakes()->fresh, &s->shake_link);
}
