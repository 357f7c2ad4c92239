# Latency against length at nearly equal density: cd RUN_DIR/plots && gnuplot -c latency_length.gp latency_length svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("latency_length.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("latency_length.gp")]."published.gp"

stats data using "tokens" nooutput name "x"
stats data using "total_ms" nooutput name "y"
stats data using (column("total_ms_hi") == column("total_ms_hi") ? column("total_ms_hi") : column("total_ms")) nooutput name "top"
set logscale x 2
low = lesser(x_min, mark_x_min) / 1.15; high = greater(x_max, mark_x_max) * 1.15; eval mark_sides
set xrange [x_low = low:x_high = high]
x_log = 1
axis = "y"; low = y_min / 1.3; high = top_max * 1.3; eval log_axis
set xtics ()
do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
set xlabel "length, tokens"
set ylabel "time of one layer, ms"
x_of = "tokens"; y_of = "total_ms"; n_extra = 0; ended = 1
load ARG0[1:strlen(ARG0) - strlen("latency_length.gp")]."ends.gp"
set multiplot
plot data using "tokens":(of(dense, "total_ms")) with linespoints linecolor rgb "#000000" \
         linewidth 1.5 dashtype solid pointtype 2 title named(dense), \
     for [r = 2:n_runs] data using "tokens":(of(dense + 1, "total_ms")) with linespoints linecolor rgb "#000000" \
         linewidth 1.5 dashtype (8, 4) pointtype 2 notitle, \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "total_ms")):"total_ms_lo":"total_ms_hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 dashtype solid pointtype shape[slot[i]] pointsize 0.1 notitle, \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "total_ms")) \
         with linespoints linetype slot[i] title named(slot[i]), \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
load ARG0[1:strlen(ARG0) - strlen("latency_length.gp")]."inset.gp"
unset multiplot
