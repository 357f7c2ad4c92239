# Kept blocks by query position: cd RUN_DIR/plots && gnuplot -c schedules.gp schedules svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("schedules.gp")]."style.gp"

stats data using "query" nooutput name "x"
stats data using "kept_blocks" nooutput name "y"
axis = "x"; low = 0; high = x_max + x_min; eval plain_axis; eval token_tics
# a method with a few dense rows would squeeze the others
apart = y_max > 4 * y_median && y_min > 0
low = apart ? y_min / 1.1 : 0; high = y_max * 1.08
axis = "y"; eval (apart ? log_axis : plain_axis)
set xlabel "query position, tokens"
set ylabel "kept blocks of the row"
set key title "method (density)" left
x_of = "query"; y_of = "kept_blocks"; n_extra = 0
load ARG0[1:strlen(ARG0) - strlen("schedules.gp")]."ends.gp"
if (direct) { set key notitle }
# schedules often coincide: earlier ones are wider, so that they show behind later ones
plot for [i = 1:n_shown] data using "query":(of(slot[i], "kept_blocks")) \
         with lines linetype slot[i] linewidth 1.6 + 3.4 * (n_shown - i) / n_shown title named(slot[i]), \
     for [r = 1:n_runs] NaN with lines linetype dense + r title run[r]
