/*
 * test_cli_replicas.c - cell.json follows the cell's list of its replicas.
 */
#include "replicas.h"

#include "testlib.h"

/* Numbers as text: cell.json, the reported replicas (with the next number), cell.json afterwards.
 */
static const struct row {
    const char *file, *reported;
    uint64_t next_id;
    bool by_leader;
    const char *after;
} rows[] = {
    {"1 2 3", "1 2 3", 4, true, "1 2 3"},
    {"1 2 3 4", "1 2 3", 5, true, "1 2 3"},  /* removed */
    {"1 2 3 4", "1 2 3", 5, false, "1 2 3"}, /* reported by any replica */
    {"1 2 3", "1 3 4", 5, true, "1 3 4"},    /* replaced */
    /* only the leader is believed about new replicas */
    {"1 2 3", "1 3 4", 5, false, "1 3"},
    {"1 3 5 6", "1 2 3 4 5", 6, false, "1 3 5 6"}, /* a replica that lags does not know 6 */
    {"1 3 5", "1 2 3 4 5", 6, false, "1 3 5"},     /* nor the removal of 2 and 4 */
    {"1 2 3", "", 0, true, "1 2 3"},               /* the cell does not know its replicas */
    {"1", "2 3", 4, false, "1"},                   /* it never becomes empty */
    {"1", "2 3", 4, true, "2 3"},
};

static size_t ids_parse(const char *text, uint64_t ids[CELL_REPLICAS_MAX])
{
    size_t count = 0;
    for (const char *p = text; *p != '\0'; p++)
        if (*p != ' ')
            ids[count++] = (uint64_t)(*p - '0');
    return count;
}

START_TEST(cell_json_follows)
{
    const struct row *row = &rows[_i];
    struct cell_file file = {0};
    struct masters reported = {.next_id = row->next_id};
    uint64_t ids[CELL_REPLICAS_MAX];
    char after[64] = "";
    file.replica_count = ids_parse(row->file, ids);
    for (size_t i = 0; i < file.replica_count; i++)
        file.replicas[i].id = ids[i];
    reported.count = (uint32_t)ids_parse(row->reported, ids);
    for (uint32_t i = 0; i < reported.count; i++) {
        reported.rows[i] = (struct master){.id = ids[i], .state = MASTER_VOTES};
        snprintf(reported.rows[i].rpc, sizeof reported.rows[i].rpc, "host%" PRIu64 ":1", ids[i]);
        snprintf(reported.rows[i].raft, sizeof reported.rows[i].raft, "host%" PRIu64 ":2", ids[i]);
    }
    bool changed = replicas_follow(&file, &reported, row->by_leader);
    for (size_t i = 0; i < file.replica_count; i++) {
        snprintf(after + strlen(after), sizeof after - strlen(after), "%s%" PRIu64,
                 i > 0 ? " " : "", file.replicas[i].id);
        if (strchr(row->file, (int)('0' + file.replicas[i].id)) == NULL)
            ck_assert_ptr_nonnull(strstr(file.replicas[i].raft, ":2"));
    }
    ck_assert_str_eq(after, row->after);
    ck_assert_int_eq(changed, strcmp(row->file, row->after) != 0);
    ck_assert(!replicas_follow(&file, &reported, row->by_leader));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_replicas");
    TCase *t = tcase_create("follow");
    tcase_add_loop_test(t, cell_json_follows, 0, (int)ARRAY_SIZE(rows));
    suite_add_tcase(suite, t);
    return t_main(suite);
}
