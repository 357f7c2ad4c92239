# What all pictures share. Loaded by NAME.gp, which sets `name` and `format` (svg, png, pdf) first.
# Reads data/NAME.key.tsv: texts of the key (slot 1 to 18), sentences of the caption (slot 0), and how many
# published values there are: on the axes (slot -1, published.gp) and in the inset (slot -2, inset.gp); of two
# runs in one picture their names (slots -3 and -4).
set encoding utf8
set datafile columnheaders
set datafile missing "NaN"

n_colours = 9
most = 2 * n_colours
dense = most + 1 # slot of the baseline in the data; the next one: of the second run
array label[dense]
array slot[most]
array run[2] = ["", ""]
n_shown = 0
n_marks = 0
n_insets = 0
n_runs = 0
caption = ""
set datafile separator tab
stats "data/".name.".key.tsv" using (column("slot") > 0 \
    ? (n_shown = n_shown + 1, slot[n_shown] = int(column("slot")), \
       label[int(column("slot"))] = strcol("text"), 1) \
    : column("slot") == 0 ? (caption = caption.(caption eq "" ? "" : " ").strcol("text"), 0) \
    : column("slot") == -1 ? (n_marks = n_marks + 1, 0) : column("slot") == -2 ? (n_insets = n_insets + 1, 0) \
    : (n_runs = n_runs + 1, run[n_runs] = strcol("text"), 0)) nooutput
set datafile separator comma
# of two runs a setting's curves are 9 slots apart and have one line in the key
n_keyed = n_shown + n_runs
if (n_runs > 0) {
    do for [i = 1:n_shown] {
        s = slot[i]
        if (s > n_colours) {
            twin = 0
            do for [j = 1:i - 1] { if (slot[j] == s - n_colours) { twin = 1 } }
            if (twin) { if (label[s] eq label[s - n_colours]) { label[s] = ""; n_keyed = n_keyed - 1 } }
        }
    }
}
data = "data/".name.".csv"

# Sizes in SVG pixels: the picture (`tall` where it is set), or a grid of square panels where `panels`
# is set, a band for the inset, then 18 for each line of the caption.
many = n_keyed > n_colours
width = many ? 1040 : 920
# the caption's lines, broken between words; earlier where the last would be a word or two
text = caption
chars = int(width / 7.2) + 4
rest = ""
do for [turn = 1:12] {
    if (turn == 1 || (n_lines > 1 && strlen(rest) < 25)) {
        chars = chars - 4
        n_lines = 1
        caption = ""
        rest = text
        while (strlen(rest) > chars) {
            cut = chars + 1
            while (cut > 1 && rest[cut:cut] ne " ") { cut = cut - 1 }
            cut = cut > 1 ? cut : chars
            caption = caption.rest[1:cut]."\n"
            rest = rest[cut + 1:]
            n_lines = n_lines + 1
        }
    }
}
caption = caption.rest
n_cols = n_shown <= 3 ? n_shown : n_shown == 4 ? 2 : n_shown <= 6 ? 3 : 4
n_rows = (n_shown + n_cols - 1) / n_cols
pitch = n_cols == 1 ? 460 : 0.76 * width / n_cols + 38
body = exists("panels") ? 75 + pitch * n_rows : exists("tall") ? tall : many ? 620 : 540
band = n_insets > 0 ? 236 : 0
height = int(body) + band + 18 * n_lines
below(pixels) = (18.0 * n_lines + band + 12 + pixels) / height
if (format eq "svg") {
    set terminal svg size width, height enhanced font "sans-serif,15" background "#ffffff"
    small = ",12.5"
}
if (format eq "png") {
    set terminal pngcairo size 2 * width, 2 * height enhanced font "sans-serif,11" fontscale 2 \
        background "#ffffff" linewidth 2 pointscale 2
    small = ",9.2"
}
if (format eq "pdf") {
    set terminal pdfcairo size width / 74.0, height / 74.0 enhanced font "sans-serif,11" fontscale 1 \
        background "#ffffff" linewidth 1.6 dashlength 2 pointscale 1.3
    small = ",9.2"
}
set output name.".".format

# Okabe and Ito's colours that carry on white, then three darker ones; solid with full markers, then
# dashed with open ones.
array colour[dense]
array shape[most]
hues = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #332288 #7A7A00 #882255"
full = "7 5 9 11 13 15 7 5 9"
open = "6 4 8 10 12 14 6 4 8"
do for [i = 1:most] {
    k = (i - 1) % n_colours + 1
    colour[i] = word(hues, k)
    shape[i] = int(word(i > n_colours ? open : full, k))
    set linetype i linecolor rgb colour[i] linewidth 2 pointtype shape[i] pointsize 0.9
    if (i > n_colours) { set linetype i dashtype (8, 4) }
}
ink = "#222222"
faint = "#666666"
label[dense] = "dense"
colour[dense] = "#000000"
# `direct` where curves are named at their ends (ends.gp)
direct = 0
named(s) = direct ? "" : label[s]
# the runs of two: at the end of the key
set linetype dense + 1 linecolor rgb ink linewidth 2 dashtype solid pointtype 7 pointsize 0.9
set linetype dense + 2 linecolor rgb ink linewidth 2 dashtype (8, 4) pointtype 6 pointsize 0.9
set border 3 linecolor rgb faint
set tics nomirror textcolor rgb ink
set grid linetype 1 linecolor rgb "#e2e2e2" linewidth 0.8
set xlabel textcolor rgb ink
set ylabel textcolor rgb ink
set title noenhanced textcolor rgb ink
set key outside right top vertical maxcols 1 Left reverse noenhanced samplen 2 spacing 1.25 textcolor rgb ink
if (many) {
    # the room is reckoned with the larger font
    widest = 0
    do for [i = 1:n_shown] { widest = strlen(label[slot[i]]) > widest ? strlen(label[slot[i]]) : widest }
    set key samplen 3 spacing 1.2 width -int((format eq "svg" ? 0.17 : 0.08) * widest) font small
}
set tmargin at screen 1 - 16.0 / height
set bmargin at screen below(72)
set label 99 caption at screen 12.0 / width, screen below(-12 - band) left noenhanced \
    textcolor rgb faint font small

# Whether a row is of a curve that is shown.
shown = 'column("slot") > 0 && column("slot") < dense'
# The y column in the rows of one slot, else nothing.
of(s, y) = column("slot") == s ? column(y) : NaN

# A logarithmic axis from `low` to `high`, or a factor of 4; fewer labels the more decades there are.
log_axis = "\
    wide = high >= 4 * low; \
    middle = sqrt(low * high); \
    low = wide ? low : middle / 2; \
    high = wide ? high : middle * 2; \
    eval sprintf('%s_low = %.17g; %s_high = %.17g; %s_log = 1', axis, low, axis, high, axis); \
    span = log10(high / low); \
    eval sprintf('set logscale %s; set %srange [%g:%g]', axis, axis, low, high); \
    eval sprintf('unset m%stics; set %stics ()', axis, axis); \
    labelled = span <= 1.3 ? '12357' : span <= 3 ? '125' : '1'; \
    do for [e = -9:9] { \
        do for [m = 1:9] { \
            at = m * 10.0**e; \
            if (at >= low && at <= high) { \
                minor = strstrt(labelled, sprintf('%d', m)) == 0; \
                eval sprintf('set %stics add (\"%s\" %g %d)', axis, minor ? '' : sprintf('%g', at), at, minor) \
            } \
        } \
    }"

# A linear axis from `low` to `high`.
plain_axis = "\
    eval sprintf('%s_low = %.17g; %s_high = %.17g; %s_log = 0', axis, low, axis, high, axis); \
    eval sprintf('set %srange [%.17g:%.17g]', axis, low, high)"

# Tics of an axis of positions up to `high` tokens, at multiples of a power of two.
token_tics = "\
    step = 2**floor(log10(high / 4.0) / log10(2) + 0.001); \
    eval sprintf('set %stics (0)', axis); \
    do for [i = 1:int(high / step)] { \
        at = i * step; \
        shown = at < 1024 ? sprintf('%d', at) : sprintf('%gK', at / 1024.0); \
        eval sprintf('set %stics add (\"%s\" %d)', axis, shown, at) \
    }"
