# Error by query position at nearly equal density: cd RUN_DIR/plots && gnuplot -c error_position.gp error_position svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("error_position.gp")]."style.gp"

# rows that keep every block are as good as exact and would squeeze the others
stats data using "rel_l2" nooutput name "y"
stats data using "query" nooutput name "x"
low = (y_min > 1e-2 * y_max ? y_min : 1e-2 * y_max) / 1.2
axis = "y"; high = y_max * 1.2; eval log_axis
axis = "x"; low = 0; high = x_max + x_min; eval plain_axis; eval token_tics
set xlabel "query position, tokens"
set ylabel "relative L2 error of the attention output"
set key title "method (density)" left
x_of = "query"; y_of = "rel_l2"; n_extra = 0
load ARG0[1:strlen(ARG0) - strlen("error_position.gp")]."ends.gp"
if (direct) { set key notitle }
# markers are spread out, so that curves that coincide can be told apart
every_n = int(y_records / n_shown / 6)
every_n = every_n > n_shown ? every_n : n_shown
seen = 0
mine(i) = column("slot") == slot[i] && column("rel_l2") == column("rel_l2") \
    ? (seen = seen + 1, seen % every_n == (i - 1) * every_n / n_shown) : 0
plot for [i = 1:n_shown] data using "query":(of(slot[i], "rel_l2")) \
         with lines linetype slot[i] linewidth 1.6 notitle, \
     for [i = 1:n_shown] data using "query":(column(0) == 0 ? seen = 0 : 0, mine(i) ? column("rel_l2") : NaN) \
         with points linetype slot[i] pointsize 1.1 notitle, \
     for [i = 1:n_shown] NaN with linespoints linetype slot[i] linewidth 1.6 title named(slot[i]), \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
