# Latency against length at nearly equal density: cd RUN_DIR/plots && gnuplot -c latency_length.gp latency_length svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("latency_length.gp")]."style.gp"

stats data using "tokens" nooutput name "x"
stats data using "total_ms" nooutput name "y"
set logscale x 2
set xrange [x_min / 1.15:x_max * 1.15]
axis = "y"; low = y_min / 1.3; high = y_max * 1.3; eval log_axis
set xtics ()
do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
set xlabel "length, tokens"
set ylabel "time of one layer, ms"
plot data using "tokens":(of(dense, "total_ms")) with linespoints linecolor rgb "#000000" \
         linewidth 1.5 pointtype 2 title "dense", \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "total_ms")):"total_ms_lo":"total_ms_hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 pointtype shape[slot[i]] pointsize 0.1 notitle, \
     for [i = 1:n_shown] data using "tokens":(of(slot[i], "total_ms")) \
         with linespoints linetype slot[i] title label[slot[i]]
