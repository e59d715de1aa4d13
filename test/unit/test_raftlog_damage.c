/*
 * test_raftlog_damage.c - a raft directory that something has damaged: a byte flipped, a file cut,
 * emptied, gone, or of somebody else. Opened again it has the same entries, or is refused with a
 * message that says what to do; never fewer entries, never others. What a power cut tears opens.
 *
 * One replica, which applies its whole log while it opens. Each case has a process of its own.
 */
#include "raftlog_cell.h"
#include "raftlog_acked.h"
#include "raftlog_seal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

enum { FILES_MAX = 64, NAME_MAX_BYTES = 128, BLOCK = 4096 };

struct files {
    char names[FILES_MAX][NAME_MAX_BYTES];
    size_t sizes[FILES_MAX];
    size_t count;
};

/* What a case came to. */
struct outcome {
    int rv; /* of raftlog_open */
    uint64_t entries;
    uint64_t hash;
    char message[ERR_MSG_MAX];
};

/* A directory as a crash leaves it, and what is in it. */
struct scene {
    struct cell *cell;
    char dir[64];
    char saved[128];
    char later[128]; /* the same with one more entry */
    struct files files;
    struct outcome whole;
};

static void copy_dir(const char *from, const char *to)
{
    char cmd[1024];
    snprintf(cmd, sizeof cmd, "rm -rf %s && cp --sparse=always -r %s %s", to, from, to);
    ck_assert_int_eq(system(cmd), 0);
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Files with something in them; those prepared for later are all zeros. */
static struct files list_files(const char *dir)
{
    struct files files = {0};
    struct dirent **names = NULL;
    int count = scandir(dir, &names, not_hidden, versionsort);
    ck_assert_int_gt(count, 0);
    for (int i = 0; i < count; i++) {
        char path[512];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        ck_assert_int_eq(stat(path, &st), 0);
        if (st.st_blocks > 0 && files.count < FILES_MAX) {
            str_copy(files.names[files.count], NAME_MAX_BYTES, names[i]->d_name);
            files.sizes[files.count++] = (size_t)st.st_size;
        }
        free(names[i]);
    }
    free(names);
    return files;
}

/* Open the directory in a child and say what it has. */
static struct outcome try_open(struct scene *s)
{
    struct outcome outcome = {0};
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct replica *r = &s->cell->replicas[0];
        struct raftlog_options o = options_of(r);
        struct err err = {0};
        uv_loop_fork(&s->cell->loop);
        memset(&r->state, 0, sizeof r->state);
        outcome.rv = raftlog_open(&o, &r->log, &err);
        outcome.entries = r->state.count;
        outcome.hash = r->state.hash;
        str_copy(outcome.message, sizeof outcome.message, err.msg);
        if (r->fatal_count > 0)
            outcome.rv = -ERR_UNAVAILABLE;
        _exit(write(fds[1], &outcome, sizeof outcome) == sizeof outcome ? 0 : 1);
    }
    close(fds[1]);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (read(fds[0], &outcome, sizeof outcome) != sizeof outcome)
        str_copy(outcome.message, sizeof outcome.message, "crashed");
    close(fds[0]);
    return outcome;
}

/* Entries in closed segments, in an open one, and in two snapshots; then as after kill -9. */
static struct scene scene_new(const char *cell_name)
{
    struct scene s = {.cell = cell_new(1), .dir = "/dev/shm/cell-test-XXXXXX"};
    struct replica *r = &s.cell->replicas[0];
    ck_assert_ptr_nonnull(mkdtemp(s.dir));
    s.cell->options.snapshot_threshold = 64;
    s.cell->options.snapshot_trailing = 40;
    s.cell->options.cell = cell_name;
    replica_open(r);
    propose_entries(s.cell, 100);
    replica_close(r);
    replica_open(r);
    propose_entries(s.cell, 100);
    run_until(s.cell, all_have_snapshots, NULL, "a snapshot");
    replica_close(r);
    s.cell->options.snapshot_threshold = 1000000;
    replica_open(r);
    for (unsigned i = 0; i < 12; i++)
        propose_entries(s.cell, 1);
    snprintf(s.saved, sizeof s.saved, "%s/saved", s.dir);
    copy_dir(r->dir, s.saved);
    s.files = list_files(s.saved);
    s.whole.entries = r->state.count;
    s.whole.hash = r->state.hash;
    propose_entries(s.cell, 1);
    snprintf(s.later, sizeof s.later, "%s/later", s.dir);
    copy_dir(r->dir, s.later);
    replica_close(r);
    /* Opened a thousand times: not on a disk that has to sync. (Close there is not for the library:
     * without kernel AIO it calls back after it is gone.) */
    snprintf(r->dir, sizeof r->dir, "%s/raft", s.dir);
    return s;
}

static void scene_free(struct scene *s)
{
    char cmd[128];
    cell_free(s->cell);
    snprintf(cmd, sizeof cmd, "rm -rf %s", s->dir);
    ck_assert_int_eq(system(cmd), 0);
}

static bool is_same(const struct scene *s, const struct outcome *o)
{
    return o->rv == 0 && o->entries == s->whole.entries && o->hash == s->whole.hash;
}

/* The same entries, or a refusal that names the directory and the remedy. */
static void check_outcome(const struct scene *s, const struct outcome *o, const char *what,
                          const char *file, size_t at)
{
    bool refused = o->rv != 0 && strstr(o->message, s->dir) != NULL &&
                   strstr(o->message, "borgctl cell replace-replica 1 ") != NULL;
    ck_assert_msg(is_same(s, o) || refused,
                  "%s %s at %zu: %d '%s', %" PRIu64 " of %" PRIu64 " entries", what, file, at,
                  o->rv, o->message, o->entries, s->whole.entries);
}

static void path_of(const struct scene *s, const char *file, char path[512])
{
    snprintf(path, 512, "%s/%s", s->cell->replicas[0].dir, file);
}

static void flip(const struct scene *s, const char *file, size_t at)
{
    char path[512];
    uint8_t byte;
    path_of(s, file, path);
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1U << (at % 8));
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void cut(const struct scene *s, const char *file, size_t at)
{
    char path[512];
    path_of(s, file, path);
    ck_assert_int_eq(truncate(path, (off_t)at), 0);
}

static void erase_block(const struct scene *s, const char *file, size_t at)
{
    static const uint8_t zeros[512];
    char path[512];
    path_of(s, file, path);
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, zeros, sizeof zeros, (off_t)(at / 512 * 512)), sizeof zeros);
    close(fd);
}

static void unlink_file(const struct scene *s, const char *file, size_t at)
{
    char path[512];
    (void)at;
    path_of(s, file, path);
    ck_assert_int_eq(unlink(path), 0);
}

static const struct damage {
    const char *what;
    void (*apply)(const struct scene *s, const char *file, size_t at);
    unsigned spots; /* in each file, spread over what it holds */
} damages[] = {
    {"flip", flip, 12}, {"cut", cut, 8}, {"erase", erase_block, 6}, {"unlink", unlink_file, 1}};

/* How much of a file is not zeros at the end. */
static size_t bytes_in_use(const char *dir, const struct files *files, size_t i)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, files->names[i]);
    uint8_t *bytes = xcalloc(1, files->sizes[i] + 1);
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    size_t used = files->sizes[i];
    ck_assert_int_eq(read(fd, bytes, used), (ssize_t)used);
    while (used > 0 && bytes[used - 1] == 0)
        used--;
    close(fd);
    free(bytes);
    return used;
}

START_TEST(damage_is_repaired_or_refused)
{
    const struct damage *d = &damages[_i];
    struct scene s = scene_new("test");
    struct replica *r = &s.cell->replicas[0];
    unsigned refused = 0;
    unsigned cases = 0;
    copy_dir(s.saved, r->dir);
    struct outcome whole = try_open(&s);
    ck_assert_msg(is_same(&s, &whole), "%s", whole.message);
    for (size_t i = 0; i < s.files.count; i++) {
        size_t used = bytes_in_use(s.saved, &s.files, i);
        for (unsigned k = 0; k < d->spots && used > 0; k++) {
            size_t at = used * k / d->spots + (used > 4096 ? k * 7 : 0);
            if (at >= used)
                break;
            copy_dir(s.saved, r->dir);
            d->apply(&s, s.files.names[i], at);
            struct outcome o = try_open(&s);
            check_outcome(&s, &o, d->what, s.files.names[i], at);
            /* Twice: the library must not have repaired the evidence away. */
            struct outcome again = o.rv != 0 ? try_open(&s) : o;
            check_outcome(&s, &again, d->what, s.files.names[i], at);
            refused += o.rv != 0;
            cases++;
        }
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_ge(cases, s.files.count / 2);
    scene_free(&s);
}
END_TEST

/* Once the seal has a term the library's own copy of it is of no use, and of no harm. */
START_TEST(damaged_metadata_costs_nothing)
{
    static const char *const names[] = {"metadata1", "metadata2"};
    struct scene s = scene_new("test");
    struct replica *r = &s.cell->replicas[0];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[512];
        for (size_t at = 0; at < 32; at++) {
            copy_dir(s.saved, r->dir);
            path_of(&s, names[i], path);
            int fd = open(path, O_RDWR | O_CREAT, 0600);
            ck_assert_int_ge(fd, 0);
            ck_assert_int_eq(pwrite(fd, "\xff", 1, (off_t)at), 1);
            close(fd);
            struct outcome o = try_open(&s);
            ck_assert_msg(is_same(&s, &o), "%s at %zu: %s", names[i], at, o.message);
        }
        copy_dir(s.saved, r->dir);
        path_of(&s, "metadata1", path);
        ck_assert_int_eq(truncate(path, (off_t)i * 16), 0);
        struct outcome o = try_open(&s);
        ck_assert_msg(is_same(&s, &o), "cut: %s", o.message);
    }
    scene_free(&s);
}
END_TEST

static uint8_t *read_file(const char *dir, const char *name, size_t *ret_size)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    uint8_t *bytes = xcalloc(1, (size_t)st.st_size + 1);
    ck_assert_int_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_size = (size_t)st.st_size;
    return bytes;
}

static size_t find_file(const struct scene *s, const char *prefix)
{
    for (size_t i = s->files.count; i > 0; i--) {
        if (strncmp(s->files.names[i - 1], prefix, strlen(prefix)) == 0 &&
            strstr(s->files.names[i - 1], ".meta") == NULL)
            return i - 1;
    }
    ck_abort_msg("no file %s", prefix);
}

/* Open with bytes `from` to `to` of the later write on the disk, and no others of it. */
static struct outcome open_torn(struct scene *s, const char *name, const uint8_t *later,
                                size_t from, size_t to)
{
    char path[512];
    copy_dir(s->saved, s->cell->replicas[0].dir);
    path_of(s, name, path);
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, later + from, to - from, (off_t)from), (ssize_t)(to - from));
    close(fd);
    return try_open(s);
}

START_TEST(torn_write_opens_without_it)
{
    struct scene s = scene_new("test");
    size_t i = find_file(&s, "open-");
    const char *name = s.files.names[i];
    struct files later_files = {.count = 1, .sizes = {s.files.sizes[i]}};
    size_t size;
    uint8_t *later = read_file(s.later, name, &size);
    str_copy(later_files.names[0], NAME_MAX_BYTES, name);
    size_t begin = bytes_in_use(s.saved, &s.files, i);
    size_t end = bytes_in_use(s.later, &later_files, 0);
    ck_assert_uint_lt(begin + 64, end);
    begin = (begin + 7) / 8 * 8;
    for (size_t to = begin; to + 8 < end; to += 40) {
        struct outcome front = open_torn(&s, name, later, begin, to);
        ck_assert_msg(is_same(&s, &front), "to %zu: %s", to, front.message);
        struct outcome back = open_torn(&s, name, later, to + 8, end);
        ck_assert_msg(is_same(&s, &back), "from %zu: %s", to + 8, back.message);
    }
    struct outcome all = open_torn(&s, name, later, begin, end);
    ck_assert_int_eq(all.rv, 0);
    ck_assert_uint_eq(all.entries, s.whole.entries + 1);
    free(later);
    scene_free(&s);
}
END_TEST

/* Files of the same names from another cell. */
START_TEST(files_of_another_cell_are_refused)
{
    static const char *const kinds[] = {"open-", "0", "snapshot-", "seal"};
    struct scene s = scene_new("test");
    struct scene other = scene_new("other");
    struct replica *r = &s.cell->replicas[0];
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        char cmd[1024];
        copy_dir(s.saved, r->dir);
        snprintf(cmd, sizeof cmd, "cp %s/%s %s/%s", other.saved,
                 other.files.names[find_file(&other, kinds[k])], r->dir,
                 s.files.names[find_file(&s, kinds[k])]);
        ck_assert_int_eq(system(cmd), 0);
        struct outcome o = try_open(&s);
        ck_assert_msg(o.rv == -ERR_CORRUPT || o.rv == -ERR_STATE, "%s: %d %s", kinds[k], o.rv,
                      o.message);
    }
    copy_dir(other.saved, r->dir);
    struct outcome o = try_open(&s);
    ck_assert_int_eq(o.rv, -ERR_STATE);
    ck_assert_ptr_nonnull(strstr(o.message, "belongs to another cell"));
    scene_free(&other);
    scene_free(&s);
}
END_TEST

static void seal_reopen(struct raftlog_seal *seal, const char *dir)
{
    struct err err;
    raftlog_seal_close(seal);
    ck_assert_msg(raftlog_seal_open(seal, dir, 3, 77, &err) == 0, "%s", err.msg);
}

static void seal_damage(const struct raftlog_seal *seal, unsigned block)
{
    ck_assert_int_eq(pwrite(seal->fd, "?", 1, (off_t)block * BLOCK + 33), 1);
}

START_TEST(seal_remembers_and_abstains)
{
    struct raftlog_seal seal = {.fd = -1};
    struct err err;
    const char *dir = t_dir();
    seal_reopen(&seal, dir);
    ck_assert_uint_eq(seal.term, 0);
    ck_assert_int_eq(raftlog_seal_vote(&seal, 5, 0), 0);
    ck_assert_int_eq(raftlog_seal_vote(&seal, 5, 2), 0);
    ck_assert_int_eq(raftlog_seal_mark(&seal, 100, 4, false), 0);
    seal_reopen(&seal, dir);
    ck_assert_uint_eq(seal.term, 5);
    ck_assert_uint_eq(seal.vote, 2);
    ck_assert_uint_eq(seal.mark_index, 100);
    ck_assert_uint_eq(seal.mark_term, 4);

    /* The record of the vote is lost: nobody gets another one in that term. */
    seal_damage(&seal, seal.sequence % 2);
    seal_reopen(&seal, dir);
    ck_assert_uint_eq(seal.term, 5);
    ck_assert_uint_eq(seal.vote, SEAL_VOTE_UNKNOWN);
    seal_reopen(&seal, dir);
    ck_assert_uint_eq(seal.vote, SEAL_VOTE_UNKNOWN);
    ck_assert_int_eq(raftlog_seal_vote(&seal, 6, 0), 0);
    seal_damage(&seal, 2); /* the mark is a help only */
    seal_reopen(&seal, dir);
    ck_assert_uint_eq(seal.term, 6);
    ck_assert_uint_eq(seal.mark_index, 0);

    raftlog_seal_close(&seal);
    ck_assert_int_eq(raftlog_seal_open(&seal, dir, 4, 77, &err), -ERR_STATE);
    raftlog_seal_close(&seal);
    ck_assert_int_eq(raftlog_seal_open(&seal, dir, 3, 78, &err), -ERR_STATE);
    seal_damage(&seal, 0);
    seal_damage(&seal, 1);
    raftlog_seal_close(&seal);
    ck_assert_int_eq(raftlog_seal_open(&seal, dir, 3, 77, &err), -ERR_CORRUPT);
    raftlog_seal_close(&seal);
}
END_TEST

static uint64_t acked_of(const struct raftlog_acked *acked, uint64_t id)
{
    const struct acked_row *row = raftlog_acked_find(acked, id);
    return row != NULL ? row->index : 0;
}

START_TEST(what_others_acknowledged_is_remembered)
{
    struct raftlog_acked acked;
    const char *dir = t_dir();
    raftlog_acked_open(&acked, dir);
    ck_assert_uint_eq(acked_of(&acked, 2), 0);
    raftlog_acked_note(&acked, 2, 100, 7);
    raftlog_acked_note(&acked, 3, 90, 8);
    raftlog_acked_note(&acked, 2, 80, 9); /* never less */
    ck_assert_uint_eq(acked_of(&acked, 2), 100);
    ck_assert_uint_eq(raftlog_acked_find(&acked, 2)->noted_ms, 7);
    for (uint64_t id = 100; id < 100 + 2 * ACKED_ROWS; id++) /* old numbers make room */
        raftlog_acked_note(&acked, id, id, 10);
    raftlog_acked_note(&acked, 200, 70, 10);
    raftlog_acked_close(&acked);
    raftlog_acked_open(&acked, dir);
    ck_assert_uint_eq(acked_of(&acked, 2), 0);
    ck_assert_uint_eq(acked_of(&acked, 200), 70);
    ck_assert_uint_eq(acked_of(&acked, 131), 131);
    ck_assert_uint_gt(raftlog_acked_find(&acked, 131)->noted_ms, 10);
    ck_assert_int_eq(pwrite(acked.fd, "?", 1, 20), 1); /* then it says nothing, and nothing wrong */
    raftlog_acked_close(&acked);
    raftlog_acked_open(&acked, dir);
    ck_assert_uint_eq(acked_of(&acked, 200), 0);
    raftlog_acked_close(&acked);
}
END_TEST

int main(void)
{
    log_open(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    Suite *suite = suite_create("raftlog_damage");
    TCase *t = tcase_create("directories");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, damage_is_repaired_or_refused, 0, (int)ARRAY_SIZE(damages));
    tcase_add_test(t, damaged_metadata_costs_nothing);
    tcase_add_test(t, torn_write_opens_without_it);
    tcase_add_test(t, files_of_another_cell_are_refused);
    tcase_add_test(t, seal_remembers_and_abstains);
    tcase_add_test(t, what_others_acknowledged_is_remembered);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
