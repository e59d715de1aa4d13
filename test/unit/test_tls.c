/*
 * test_tls.c - identities, the CA and the contexts made from their files.
 */
#include "testlib.h"

#include <fcntl.h>
#include <sys/stat.h>

START_TEST(identities_are_read_from_common_names)
{
    static const struct {
        const char *text;
        enum role role; /* ROLE_NONE: refused */
        const char *name;
    } cases[] = {
        {"master/3", ROLE_MASTER, "3"},
        {"borglet/rack1-m17.example", ROLE_BORGLET, "rack1-m17.example"},
        {"user/ada_l-1.x", ROLE_USER, "ada_l-1.x"},
        {"master/4294967295", ROLE_MASTER, "4294967295"},
        {"user/ada@example.com", ROLE_NONE, ""},
        {"user/Ada", ROLE_NONE, ""},
        {"user/a+b", ROLE_NONE, ""},
        {"user/.", ROLE_NONE, ""},
        {"user/..", ROLE_NONE, ""},
        {"user/-x", ROLE_NONE, ""},
        {"user/a\n", ROLE_NONE, ""},
        {"user/a\x01", ROLE_NONE, ""},
        {"user/\xc3\xa9", ROLE_NONE, ""},
        {" user/a", ROLE_NONE, ""},
        {"master/0", ROLE_NONE, ""},
        {"master/03", ROLE_NONE, ""},
        {"master/-1", ROLE_NONE, ""},
        {"master/+1", ROLE_NONE, ""},
        {"master/12345678901", ROLE_NONE, ""},
        {"", ROLE_NONE, ""},
        {"user", ROLE_NONE, ""},
        {"user/", ROLE_NONE, ""},
        {"user/a/b", ROLE_NONE, ""},
        {"user/a b", ROLE_NONE, ""},
        {"user/\"x", ROLE_NONE, ""},
        {"users/a", ROLE_NONE, ""},
        {"none/a", ROLE_NONE, ""},
        {"USER/a", ROLE_NONE, ""},
        {"master/three", ROLE_NONE, ""},
        {"user/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "a",
         ROLE_NONE, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct identity id = {0};
        if (cases[i].role == ROLE_NONE) {
            T_REFUSED(identity_parse(cases[i].text, &id, &t_err), ERR_INVALID);
            continue;
        }
        T_OK(identity_parse(cases[i].text, &id, &t_err));
        ck_assert_int_eq(id.role, cases[i].role);
        ck_assert_str_eq(id.name, cases[i].name);
        ck_assert_str_eq(identity_text(&id).text, cases[i].text);
    }
}
END_TEST

START_TEST(a_context_knows_who_it_is)
{
    const char *dir = t_pki();
    struct tls_context *ctx = t_tls(dir, "borglet/m1");
    ck_assert_int_eq(tls_context_identity(ctx)->role, ROLE_BORGLET);
    ck_assert_str_eq(tls_context_identity(ctx)->name, "m1");
    tls_context_close(ctx);
}
END_TEST

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(keys_are_readable_by_their_owner_only)
{
    const char *dir = t_pki();
    tls_context_close(t_tls(dir, "user/ada"));
    ck_assert_uint_eq(mode_of(t_path(dir, "ca.key")), 0600);
    ck_assert_uint_eq(mode_of(t_path(dir, "user-ada.key")), 0600);
    ck_assert_uint_eq(mode_of(t_path(dir, "user-ada.crt")) & 0444, 0444);
}
END_TEST

static void slurp(const char *path, struct buf *to)
{
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ssize_t n = read(fd, buf_reserve(to, 65536), 65536);
    ck_assert_int_gt(n, 0);
    to->size += (size_t)n;
    to->bytes[to->size] = '\0';
    close(fd);
}

START_TEST(an_existing_ca_is_kept_and_a_certificate_is_replaced)
{
    CLEANUP(buf_release) struct buf ca = {0}, ca_again = {0}, crt = {0}, crt_again = {0};
    const char *dir = t_pki();
    tls_context_close(t_tls(dir, "user/ada"));
    slurp(t_path(dir, "ca.crt"), &ca);
    slurp(t_path(dir, "user-ada.crt"), &crt);
    T_OK(pki_make_ca(dir, "test", &t_err));
    tls_context_close(t_tls(dir, "user/ada"));
    slurp(t_path(dir, "ca.crt"), &ca_again);
    slurp(t_path(dir, "user-ada.crt"), &crt_again);
    ck_assert_str_eq(buf_text(&ca), buf_text(&ca_again));
    ck_assert_str_ne(buf_text(&crt), buf_text(&crt_again));
}
END_TEST

START_TEST(a_ca_without_its_key_is_refused_and_kept)
{
    const char *dir = t_pki();
    ck_assert_int_eq(unlink(t_path(dir, "ca.key")), 0);
    T_REFUSED(pki_make_ca(dir, "test", &t_err), ERR_STATE);
    T_CONTAINS(t_err.msg, "ca.key");
    ck_assert_int_eq(access(t_path(dir, "ca.crt"), R_OK), 0);
}
END_TEST

START_TEST(certificates_need_a_ca_an_identity_and_a_file_name)
{
    struct identity ada = {ROLE_USER, "ada"}, nobody = {ROLE_NONE, "x"}, odd = {ROLE_USER, "a/b"};
    T_REFUSED(pki_make_cert(t_dir(), "ada", &ada, &t_err), ERR_NOT_FOUND);
    const char *dir = t_pki();
    T_REFUSED(pki_make_cert(dir, "ada", &nobody, &t_err), ERR_INVALID);
    T_REFUSED(pki_make_cert(dir, "ada", &odd, &t_err), ERR_INVALID);
    T_REFUSED(pki_make_cert(dir, "ca", &ada, &t_err), ERR_INVALID);
    T_REFUSED(pki_make_cert(dir, "../ada", &ada, &t_err), ERR_INVALID);
    T_REFUSED(pki_make_cert(dir, "", &ada, &t_err), ERR_INVALID);
}
END_TEST

START_TEST(a_context_needs_files_that_fit_together)
{
    const char *dir = t_pki();
    struct tls_context *ctx = NULL;
    tls_context_close(t_tls(dir, "user/ada"));
    tls_context_close(t_tls(dir, "user/bob"));
    const char *ca = t_path(dir, "ca.crt"), *ada = t_path(dir, "user-ada.crt");
    T_REFUSED(tls_context_open(ca, ada, t_path(dir, "user-bob.key"), &ctx, &t_err), ERR_INVALID);
    T_CONTAINS(t_err.msg, "user-bob.key");
    T_REFUSED(tls_context_open(ca, ada, t_path(dir, "none.key"), &ctx, &t_err), ERR_IO);
    T_REFUSED(tls_context_open(t_path(dir, "none"), ada, t_path(dir, "user-ada.key"), &ctx, &t_err),
              ERR_IO);
    /* The CA's own certificate says "cell test": nobody's identity. */
    T_REFUSED(tls_context_open(ca, ca, t_path(dir, "ca.key"), &ctx, &t_err), ERR_INVALID);
    ck_assert_ptr_null(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls");
    TCase *identities = tcase_create("identities");
    tcase_add_test(identities, identities_are_read_from_common_names);
    suite_add_tcase(suite, identities);
    TCase *pki = tcase_create("pki");
    tcase_set_timeout(pki, 60);
    tcase_add_test(pki, a_context_knows_who_it_is);
    tcase_add_test(pki, keys_are_readable_by_their_owner_only);
    tcase_add_test(pki, an_existing_ca_is_kept_and_a_certificate_is_replaced);
    tcase_add_test(pki, a_ca_without_its_key_is_refused_and_kept);
    tcase_add_test(pki, certificates_need_a_ca_an_identity_and_a_file_name);
    tcase_add_test(pki, a_context_needs_files_that_fit_together);
    suite_add_tcase(suite, pki);
    return t_main(suite);
}
