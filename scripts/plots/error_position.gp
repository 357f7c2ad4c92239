# Error by query position at nearly equal density: cd RUN_DIR/plots && gnuplot -c error_position.gp error_position svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("error_position.gp")]."style.gp"

# rows that keep every block are as good as exact and would squeeze the others
stats data using "rel_l2" nooutput name "y"
stats data using "query" nooutput name "x"
low = (y_min > 1e-2 * y_max ? y_min : 1e-2 * y_max) / 1.2
axis = "y"; high = y_max * 1.2; eval log_axis
set xrange [0:high = x_max + x_min]
axis = "x"; eval token_tics
set xlabel "query position, tokens"
set ylabel "relative L2 error of the attention output"
set key title "method (density)"
# markers are spread out, so that curves that coincide can be told apart
bin = 2 * x_min
every_n = x_records / n_shown / 6 > n_shown ? int(x_records / n_shown / 6) : n_shown
mine(i) = int(column("query") / bin) % every_n == (i - 1) * every_n / n_shown
plot for [i = 1:n_shown] data using "query":(of(slot[i], "rel_l2")) \
         with lines linetype slot[i] linewidth 1.6 notitle, \
     for [i = 1:n_shown] data using "query":(mine(i) ? of(slot[i], "rel_l2") : NaN) \
         with points linetype slot[i] pointsize 1.1 notitle, \
     for [i = 1:n_shown] NaN with linespoints linetype slot[i] linewidth 1.6 title label[slot[i]]
