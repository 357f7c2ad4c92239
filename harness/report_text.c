#include "harness/report_text.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { REPLACEMENT = 0xfffd };

/* The character at *s, which is moved behind it; one byte becomes U+FFFD where it begins none. */
static uint32_t next_character(const unsigned char **s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = *s;
    int n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
    uint32_t c = n <= 1 ? *p : *p & (0x7fU >> n);
    *s = p + 1;
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return REPLACEMENT;
        c = c << 6 | (p[i] & 0x3fU);
    }
    if (n == 0 || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return REPLACEMENT;
    *s = p + n;
    return c;
}

static bool is_control(uint32_t c)
{
    return c < ' ' || (c >= 0x7f && c < 0xa0);
}

static void put_utf8(FILE *out, uint32_t c)
{
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    fputc((int)(lead[n] | c >> (6 * (n - 1))), out);
    for (int i = n - 2; i >= 0; i--)
        fputc((int)(0x80 | (c >> (6 * i) & 0x3f)), out);
}

void sb_html_text(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)(text ? text : ""); *s;) {
        uint32_t c = next_character(&s);
        if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '&')
            fputs("&amp;", out);
        else if (c == '"')
            fputs("&quot;", out);
        else if (c == '\'')
            fputs("&#39;", out);
        else
            put_utf8(out, is_control(c) && c != '\n' && c != '\t' ? REPLACEMENT : c);
    }
}

/* Whether a character is written by its number: what JSON or a script element cannot hold, line
 * ends of old scripts, and what YAML, which reads JSON, takes for unprintable. */
static bool is_escaped(uint32_t c)
{
    return is_control(c) || c == '"' || c == '\\' || c == '<' || c == 0x2028 || c == 0x2029 ||
           c == 0xfeff || c == 0xfffe || c == 0xffff;
}

void sb_json_piece(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)(text ? text : ""); *s;) {
        uint32_t c = next_character(&s);
        if (is_escaped(c))
            fprintf(out, "\\u%04x", c);
        else
            put_utf8(out, c);
    }
}

void sb_json_text(FILE *out, const char *text)
{
    fputc('"', out);
    sb_json_piece(out, text);
    fputc('"', out);
}

void sb_json_real(FILE *out, double x, int digits)
{
    if (isfinite(x))
        fprintf(out, "%.*g", digits, x);
    else
        fputs("null", out);
}

void sb_json_reals(FILE *out, const double *x, int64_t n, int digits)
{
    if (n == 0) {
        fputs("null", out);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        fputc(i > 0 ? ',' : '[', out);
        sb_json_real(out, x[i], digits);
    }
    fputc(']', out);
}
