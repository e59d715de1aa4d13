/*
 * cmd_pki.c - pki list, make and renew: the certificates in the directory of a cell's CA.
 */
#include "certs.h"
#include "clock.h"
#include "listing.h"
#include "quantity.h"
#include "spec.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIFE_MS_MIN = 1000 };

struct pki {
    const struct cli *cli;
    char cell_path[CELL_PATH_MAX + 1]; /* path of cell.json */
    struct cell_file cell;
    struct certs certs;
    uint64_t life_ms; /* 0: the default */
};

static void pki_release(struct pki *p)
{
    certs_release(&p->certs);
}

static int life_take(const struct cli *cli, uint64_t *ret, struct err *err)
{
    const char *text = cli_value(cli, OPT_VALID);
    int64_t ms = 0;
    if (text != NULL && quantity_parse_ms(text, &ms, err) < 0)
        return err_wrap(err, "--valid");
    if (text != NULL && (ms < LIFE_MS_MIN || ms > (int64_t)(2 * PKI_LIFE_MS)))
        return err_set(err, ERR_INVALID, "--valid: \"%.40s\" is not between 1s and 7300d", text);
    *ret = (uint64_t)ms;
    return 0;
}

static int pki_open(const struct cli *cli, struct pki *ret, struct err *err)
{
    struct pki *p = ret;
    size_t narrowed;
    const char *dir = cli_value(cli, OPT_DIR);
    *p = (struct pki){.cli = cli};
    client_cell_path(cli, p->cell_path);
    if (dir != NULL)
        snprintf(p->cell_path, sizeof p->cell_path, "%s/cell.json", dir);
    if (access(p->cell_path, F_OK) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no cell at %.300s; name one with --dir or --cell", p->cell_path);
    if (cell_file_load(p->cell_path, &p->cell, err) != 0 ||
        certs_read(&p->cell, &p->certs, err) != 0)
        return -(int)err->code;
    if (pki_narrow(p->certs.dir, &narrowed, err) != 0)
        return -(int)err->code;
    if (narrowed > 0)
        print_err(
            "borgctl: %zu of %s and the keys in it were readable by others; this is corrected, "
            "but keys may have been read: consider `borgctl pki renew`\n",
            narrowed, p->certs.dir);
    return 0;
}

static const struct render_column list_columns[] = {
    {"name", "NAME", RENDER_TEXT},        {"identity", "IDENTITY", RENDER_TEXT},
    {"issued_ms", "ISSUED", RENDER_TIME}, {"expires_ms", "EXPIRES", RENDER_TIME},
    {"state", "STATE", RENDER_STATE},     {"error", NULL, RENDER_TEXT},
};
enum { LIST_COLUMNS = ARRAY_SIZE(list_columns) };

static const char *state_text(const struct cert_file *file, uint64_t now_ms)
{
    if (file->why.code != ERR_OK)
        return "unreadable";
    if (file->cert.expires_ms <= now_ms)
        return "expired";
    if (file->cert.expires_ms - now_ms <= TLS_CERT_SOON_MS)
        return "ends soon";
    return "good";
}

static struct wire_value text_value(const char *text)
{
    return (struct wire_value){WIRE_TEXT, 0, 0, text};
}

static void list_row(const struct cert_file *file, char identity[CERT_NAME_MAX + 1],
                     struct wire_value *to)
{
    bool ca = file->cert.identity.role == ROLE_NONE;
    str_copy(identity, CERT_NAME_MAX + 1, ca ? "the CA" : identity_text(&file->cert.identity).text);
    to[0] = text_value(file->name);
    to[4] = text_value(state_text(file, clock_wall_ms()));
    if (file->why.code != ERR_OK) {
        to[5] = text_value(file->why.msg);
        return;
    }
    to[1] = text_value(identity);
    to[2] = (struct wire_value){WIRE_INTEGER, (int64_t)file->cert.issued_ms, 0, NULL};
    to[3] = (struct wire_value){WIRE_INTEGER, (int64_t)file->cert.expires_ms, 0, NULL};
}

static int list_print(const struct cli *cli, const struct certs *certs, struct err *err)
{
    CLEANUP(free_ptr)
    struct wire_value *values = xcalloc(certs->count + 1, LIST_COLUMNS * sizeof *values);
    CLEANUP(free_ptr) char(*names)[CERT_NAME_MAX + 1] = xcalloc(certs->count + 1, sizeof *names);
    const char *keys[LIST_COLUMNS];
    struct render_options options = listing_render_options();
    struct wire_rows rows = {.column_count = LIST_COLUMNS,
                             .row_count = (uint32_t)certs->count,
                             .columns = keys,
                             .values = values};
    json_t *json;
    for (size_t i = 0; i < LIST_COLUMNS; i++)
        keys[i] = list_columns[i].key;
    for (size_t i = 0; i < certs->count; i++)
        list_row(&certs->files[i], names[i], values + i * LIST_COLUMNS);
    if (cli->output == OUTPUT_TABLE)
        return render_table(stdout, &rows, list_columns, LIST_COLUMNS, &options, err);
    if (render_json(&rows, list_columns, LIST_COLUMNS, &json, err) != 0)
        return -(int)err->code;
    render_json_print(stdout, json);
    return 0;
}

int cmd_pki_list(struct cli *cli)
{
    CLEANUP(pki_release) struct pki pki;
    struct err err;
    if (pki_open(cli, &pki, &err) != 0 || list_print(cli, &pki.certs, &err) != 0)
        return cli_fail(&err);
    return CLI_OK;
}

static int ca_check(const struct pki *p, struct err *err)
{
    return p->certs.has_ca_key
               ? 0
               : err_set(err, ERR_NOT_FOUND,
                         "%.300s/ca.key cannot be read: run this where the key of the cell's CA "
                         "is, as a user who may read it",
                         p->certs.dir);
}

/* Return the time of issue: after all revocations of this identity, if the cell answers at once;
 * otherwise 0, which means now. */
static uint64_t issue_ms(const struct pki *p, const struct identity *id)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct cli *cli = xcalloc(1, sizeof *cli);
    struct wire_rows rows;
    struct err err; /* without an answer: issued now; the cell rejects it if that is too early */
    uint64_t revoked_ms = 0;
    *cli = *p->cli;
    cli->quiet = true;
    cli->timeout_ms = 2000;
    cli->values[0] = (struct cli_option_value){OPT_CELL, p->cell_path};
    cli->value_count = 1;
    if (cli_flag(p->cli, OPT_USER))
        cli->values[cli->value_count++] =
            (struct cli_option_value){OPT_USER, cli_value(p->cli, OPT_USER)};
    if (client_open(cli, &client, &err) == 0 &&
        client_queryf(client, &rows, &err, "SELECT revoked_ms FROM identities WHERE identity = %Q",
                      identity_text(id).text) == 0) {
        revoked_ms = rows.row_count > 0 ? (uint64_t)render_integer(&rows, 0, "revoked_ms") : 0;
        wire_rows_release(&rows);
    }
    free(cli);
    uint64_t free_ms = revoked_ms + TLS_REVOKE_SKEW_MS + 1000; /* certificates hold whole seconds */
    return revoked_ms != 0 && free_ms > clock_wall_ms() ? free_ms : 0;
}

static int pair_make(const struct pki *p, const char *to_dir, const char *name,
                     const struct identity *id, struct err *err)
{
    struct pki_order order = {.ca_dir = p->certs.dir,
                              .dir = to_dir,
                              .file_name = name,
                              .identity = *id,
                              .life_ms = p->life_ms,
                              .issued_ms = issue_ms(p, id)};
    return pki_make(&order, err);
}

static int copy_file(const char *from, const char *to, struct err *err)
{
    char bytes[16384];
    FILE *in = fopen(from, "re"), *out = in == NULL ? NULL : fopen(to, "we");
    bool ok = out != NULL;
    for (size_t n; ok && (n = fread(bytes, 1, sizeof bytes, in)) > 0;)
        ok = fwrite(bytes, 1, n, out) == n;
    int why = errno;
    if (in != NULL)
        fclose(in);
    if (out != NULL && fclose(out) != 0 && ok) {
        why = errno;
        ok = false;
    }
    return ok ? 0 : err_errno(err, why, "cannot copy %.200s to %.200s", from, to);
}

/* Make a directory for another host: cell.json, and pki with the CA's certificate and the pair. */
static int out_make(const struct pki *p, const char *out, char ret_pki[CELL_PATH_MAX + 1],
                    struct err *err)
{
    char path[CELL_PATH_MAX + 32];
    struct cell_file cell = p->cell;
    if (strlen(out) > CELL_PATH_MAX - 32)
        return err_set(err, ERR_LIMIT, "--out: \"%.60s...\" is too long", out);
    snprintf(ret_pki, CELL_PATH_MAX + 1, "%s/pki", out);
    if ((mkdir(out, 0700) != 0 && errno != EEXIST) ||
        (mkdir(ret_pki, 0700) != 0 && errno != EEXIST))
        return err_errno(err, errno, "cannot make %.400s", ret_pki);
    snprintf(path, sizeof path, "%s/ca.key", ret_pki);
    if (access(path, F_OK) == 0)
        return err_set(err, ERR_EXISTS, "%.400s contains a CA: choose another --out", ret_pki);
    snprintf(path, sizeof path, "%s/ca.crt", ret_pki);
    if (copy_file(p->cell.ca_path, path, err) != 0)
        return -(int)err->code;
    str_copy(cell.ca_path, sizeof cell.ca_path, "pki/ca.crt");
    snprintf(path, sizeof path, "%s/cell.json", out);
    return cell_file_save(path, &cell, err);
}

static void make_print(const struct pki *p, const struct identity *id, const char *out)
{
    struct cert_name name = cert_name(id);
    if (p->cli->output == OUTPUT_JSON) {
        render_json_print(stdout,
                          json_pack("{s:s, s:s, s:s}", "identity", identity_text(id).text, "name",
                                    name.text, "dir", out != NULL ? out : p->certs.dir));
        return;
    }
    if (out == NULL) {
        print("%s/%s.crt and its key were made\n", p->certs.dir, name.text);
        return;
    }
    print("%s contains the certificate of %s, its key, the CA's certificate and cell.json;\n"
          "copy it to its host in a way that keeps the key secret, then run\n\n",
          out, identity_text(id).text);
    if (id->role == ROLE_USER)
        print("  borgctl --cell %s --user %s cell status\n", out, id->name);
    else if (id->role == ROLE_BORGLET)
        print("  borglet --cell %s/cell.json --name %s --dir DIR --listen HOST:0 \\\n"
              "      --cert %s/pki/%s.crt --key %s/pki/%s.key\n",
              out, id->name, out, name.text, out, name.text);
    else
        print("  borgmaster --cell %s/cell.json --id %s --dir DIR \\\n"
              "      --cert %s/pki/%s.crt --key %s/pki/%s.key\n",
              out, id->name, out, name.text, out, name.text);
}

static int make_run(struct pki *p, struct err *err)
{
    struct identity id;
    char pki_dir[CELL_PATH_MAX + 1];
    const char *out = cli_value(p->cli, OPT_OUT);
    if (identity_parse(p->cli->args[0], &id, err) != 0 || pki_open(p->cli, p, err) != 0)
        return -(int)err->code;
    if (life_take(p->cli, &p->life_ms, err) != 0 || ca_check(p, err) != 0)
        return -(int)err->code;
    struct cert_name name = cert_name(&id);
    if (out == NULL && certs_find(&p->certs, name.text) != NULL)
        return err_set(err, ERR_EXISTS, "%.300s/%s.crt exists: `borgctl pki renew %s` replaces it",
                       p->certs.dir, name.text, name.text);
    if (out != NULL && out_make(p, out, pki_dir, err) != 0)
        return -(int)err->code;
    if (pair_make(p, out != NULL ? pki_dir : NULL, name.text, &id, err) != 0)
        return -(int)err->code;
    make_print(p, &id, out);
    return 0;
}

int cmd_pki_make(struct cli *cli)
{
    CLEANUP(pki_release) struct pki pki = {.cli = cli};
    struct err err;
    return make_run(&pki, &err) != 0 ? cli_fail(&err) : CLI_OK;
}

static bool is_wanted(const struct pki *p, const struct cert_file *file)
{
    if (file->cert.identity.role == ROLE_NONE)
        return false; /* a CA, or unreadable */
    for (size_t i = 0; i < p->cli->arg_count; i++)
        if (certs_find(&p->certs, p->cli->args[i]) == file)
            return true;
    return p->cli->arg_count == 0;
}

static int names_check(const struct pki *p, struct err *err)
{
    for (size_t i = 0; i < p->cli->arg_count; i++) {
        const char *name = p->cli->args[i];
        const struct cert_file *file = certs_find(&p->certs, name);
        if (strcmp(name, "ca") == 0)
            return err_set(err, ERR_INVALID, "the CA is renewed with --ca");
        if (file == NULL)
            return err_set(err, ERR_NOT_FOUND,
                           "%.300s has no certificate \"%.80s\"; `borgctl pki list` shows the "
                           "existing ones, `borgctl pki make` makes a new one",
                           p->certs.dir, name);
        if (file->why.code != ERR_OK)
            return err_set(err, file->why.code, "%s", file->why.msg);
    }
    return 0;
}

/* Return whether --ca was given, or the CA's certificate would expire before the new certificates.
 */
static bool ca_is_due(const struct pki *p)
{
    const struct cert_file *ca = certs_find(&p->certs, "ca");
    return cli_flag(p->cli, OPT_CA) ||
           (p->cli->arg_count == 0 && ca != NULL && ca->why.code == ERR_OK &&
            ca->cert.expires_ms < clock_wall_ms() + TLS_CERT_SOON_MS);
}

static int renew_run(struct pki *p, struct err *err)
{
    size_t count = 0;
    if (pki_open(p->cli, p, err) != 0 || life_take(p->cli, &p->life_ms, err) != 0 ||
        ca_check(p, err) != 0 || names_check(p, err) != 0)
        return -(int)err->code;
    bool ca = ca_is_due(p);
    if (ca && pki_renew_ca(p->certs.dir, cli_flag(p->cli, OPT_CA) ? p->life_ms : 0, err) != 0)
        return -(int)err->code;
    for (size_t i = 0; i < p->certs.count; i++) {
        const struct cert_file *file = &p->certs.files[i];
        if (!is_wanted(p, file))
            continue;
        if (pair_make(p, NULL, file->name, &file->cert.identity, err) != 0)
            return err_wrap(err, "%zu certificates were renewed, but not %s", count, file->name);
        count++;
    }
    if (p->cli->output == OUTPUT_JSON) {
        render_json_print(stdout, json_pack("{s:i, s:b}", "renewed", (int)count, "ca", ca));
        return 0;
    }
    print("%zu certificate%s%s renewed; masters and borglets that read them here use them\n"
          "within seconds, those on other hosts after the files are copied there\n",
          count, count == 1 ? "" : "s", ca ? " and the CA's certificate" : "");
    return 0;
}

int cmd_pki_renew(struct cli *cli)
{
    CLEANUP(pki_release) struct pki pki = {.cli = cli};
    struct err err;
    return renew_run(&pki, &err) != 0 ? cli_fail(&err) : CLI_OK;
}
