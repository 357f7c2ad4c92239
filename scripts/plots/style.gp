# What all pictures share. Loaded by NAME.gp, which sets `name` and `format` (svg, png, pdf) first.
# Reads data/NAME.key.tsv: texts of the key (slot 1 to 18) and lines of the caption (slot 0).
set encoding utf8
set datafile columnheaders
set datafile missing "NaN"

n_colours = 9
most = 2 * n_colours
dense = most + 1 # slot of the baseline in the data
array label[most]
array slot[most]
n_shown = 0
n_lines = 0
caption = ""
set datafile separator tab
stats "data/".name.".key.tsv" using (column("slot") > 0 \
    ? (n_shown = n_shown + 1, slot[n_shown] = int(column("slot")), \
       label[int(column("slot"))] = strcol("text"), 1) \
    : (n_lines = n_lines + 1, caption = caption.strcol("text")."\n", 0)) nooutput
set datafile separator comma
data = "data/".name.".csv"

# Sizes in SVG pixels: the picture (`tall` where it is set), or a grid of square panels where `panels`
# is set, then 18 for each line of the caption.
many = n_shown > n_colours
width = many ? 1040 : 920
n_cols = n_shown <= 3 ? n_shown : n_shown == 4 ? 2 : n_shown <= 6 ? 3 : 4
n_rows = (n_shown + n_cols - 1) / n_cols
pitch = n_cols == 1 ? 460 : 0.79 * width / n_cols + 38
body = exists("panels") ? 75 + pitch * n_rows : exists("tall") ? tall : many ? 620 : 540
height = int(body) + 18 * n_lines
below(pixels) = (18.0 * n_lines + 12 + pixels) / height
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
array colour[most]
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
set border 3 linecolor rgb faint
set tics nomirror textcolor rgb ink
set grid linetype 1 linecolor rgb "#e2e2e2" linewidth 0.8
set xlabel textcolor rgb ink
set ylabel textcolor rgb ink
set title noenhanced textcolor rgb ink
set key outside right top vertical maxcols 1 Left reverse noenhanced samplen 2 spacing 1.25 textcolor rgb ink
if (many) { set key samplen 3 spacing 1.2 width -6 font small }
set tmargin at screen 1 - 16.0 / height
set bmargin at screen below(72)
set label 99 caption at screen 12.0 / width, screen below(-12) left noenhanced \
    textcolor rgb faint font small

# The y column in the rows of one slot, else nothing.
of(s, y) = column("slot") == s ? column(y) : NaN

# A logarithmic axis from `low` to `high`, or a factor of 4; fewer labels the more decades there are.
log_axis = "\
    wide = high >= 4 * low; \
    middle = sqrt(low * high); \
    low = wide ? low : middle / 2; \
    high = wide ? high : middle * 2; \
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

# Tics of an axis of positions up to `high` tokens, at multiples of a power of two.
token_tics = "\
    step = 2**floor(log10(high / 4.0) / log10(2) + 0.001); \
    eval sprintf('set %stics (0)', axis); \
    do for [i = 1:int(high / step)] { \
        at = i * step; \
        shown = at < 1024 ? sprintf('%d', at) : sprintf('%gK', at / 1024.0); \
        eval sprintf('set %stics add (\"%s\" %d)', axis, shown, at) \
    }"
