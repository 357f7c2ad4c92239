# Kept blocks of each method, rows downwards: cd RUN_DIR/plots && gnuplot -c pattern_maps.gp pattern_maps svg
name = ARG1
format = ARG2
panels = 1
load ARG0[1:strlen(ARG0) - strlen("pattern_maps.gp")]."style.gp"

unset key
unset grid
set border 0
set size ratio 1
# below zero: above the diagonal
set palette defined (-0.008 "#ffffff", -0.001 "#ffffff", 0 "#eceff2", 0.3 "#9ec9e2", 0.65 "#2f7fb8", 1 "#08306b")
set cbrange [-0.008:1]
set cbtics 0.25 scale 0 font small
stats data using "key" nooutput name "x"
set xrange [0:high = x_max + x_min]
set yrange [high:0]
set colorbox user origin screen 0.9, screen below(68) size screen 0.018, screen 160.0 / height
set label 98 "share of heads\nthat keep\nthe block" at screen 0.895, screen below(288) \
    textcolor rgb ink font small
# the density of a long label goes below it
titled(s) = strlen(s) > 28 && strstrt(s, "  (") ? s[1:strstrt(s, "  (") - 1]."\n".s[strstrt(s, "  (") + 2:] : s
set multiplot layout n_rows, n_cols \
    margins 86.0 / width, 0.875, below(68), 1 - 34.0 / height spacing 0.036, 34.0 / height
do for [i = 1:n_shown] {
    set title titled(label[slot[i]]) noenhanced offset 0, -0.6 font small
    unset xtics
    unset ytics
    unset xlabel
    unset ylabel
    if (i > n_shown - n_cols) {
        axis = "x"; eval token_tics
        set xtics scale 0 font small textcolor rgb ink
        set xlabel "key position, tokens" offset 0, 0.4 font small textcolor rgb ink
    }
    if ((i - 1) % n_cols == 0) {
        axis = "y"; eval token_tics
        set ytics scale 0 font small textcolor rgb ink
        set ylabel "query position, tokens" offset 0.3, 0 font small textcolor rgb ink
    }
    plot data using "key":"query":(of(slot[i], "share")) with image notitle
    unset colorbox
    unset label
}
unset multiplot
