# Density, blocks of the fullest row and error of settings over lengths:
# cd RUN_DIR/plots && gnuplot -c schedule_length.gp schedule_length svg
name = ARG1
format = ARG2
tall = 860
load ARG0[1:strlen(ARG0) - strlen("schedule_length.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("schedule_length.gp")]."published.gp"

has_rows = 0
block = 0
blocks_differ = 0
stats data using (r = column("fullest_row"), r == r ? (has_rows = 1) : 0, \
    b = column("tokens") / column("blocks"), block > 0 && abs(b / block - 1) > 1e-6 ? (blocks_differ = 1) : (block = b), 1) nooutput
stats data using "tokens" nooutput name "x"
stats data using "rel_l2" nooutput name "y"
set lmargin at screen 98.0 / width
set rmargin at screen 0.66
set key at screen 0.675, screen 1 - 44.0 / height top left Left reverse font small
far = greater(x_max, mark_x_max)
wide = far > 20 * x_min
low = wide ? lesser(x_min, mark_x_min) / 1.1 : 0
high = far * (wide ? 1.1 : 1.03)
set xrange [low:high]
if (wide) {
    set logscale x 2
    set xtics ()
    do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
} else {
    axis = "x"; eval token_tics
}
n_panels = has_rows ? 3 : 2
gap = 40.0
top = tall - 12 - 54.0
deep = (top - 72 - gap * (n_panels - 1)) / n_panels
p = 0
next_panel = "\
    p = p + 1; \
    set bmargin at screen below(72 + (n_panels - p) * (deep + gap)); \
    set tmargin at screen below(72 + (n_panels - p) * (deep + gap) + deep)"

set multiplot
eval next_panel
if (!blocks_differ) {
    set x2range [low / block:high / block]
    if (wide) {
        set logscale x2 2
        set x2tics ()
        do for [e = 6:20] { set x2tics add (sprintf("%g", 2**e / block) 2**e / block) }
    } else { set x2tics step / block }
    set x2tics nomirror textcolor rgb ink font small
    set x2label "length, blocks" offset 0, -0.4 textcolor rgb ink font small
}
# room for the names of lines
set yrange [0:n_here > 0 ? 1.4 : 1.05]
set ytics 0, 0.2, 1
set ylabel "density"
plot for [i = 1:n_shown] data using "tokens":(of(slot[i], "density")) \
         with linespoints linetype slot[i] linewidth 1.6 pointsize 0.7 title label[slot[i]]
unset label
unset arrow
unset key
unset x2tics
unset x2label
set ytics auto
if (has_rows) {
    eval next_panel
    set yrange [0:*]
    set ylabel "blocks of the fullest row"
    plot for [i = 1:n_shown] data using "tokens":(of(slot[i], "fullest_row")) \
             with linespoints linetype slot[i] linewidth 1.6 pointsize 0.7 notitle
}
eval next_panel
axis = "y"; low = y_min / 1.2; high = y_max * 1.2; eval log_axis
set xlabel "length, tokens"
set ylabel "relative L2 error"
plot for [i = 1:n_shown] data using "tokens":(of(slot[i], "rel_l2")) \
         with linespoints linetype slot[i] linewidth 1.6 pointsize 0.7 notitle
load ARG0[1:strlen(ARG0) - strlen("schedule_length.gp")]."inset.gp"
unset multiplot
