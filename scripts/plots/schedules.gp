# Kept blocks by query position: cd RUN_DIR/plots && gnuplot -c schedules.gp schedules svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("schedules.gp")]."style.gp"

stats data using "query" nooutput name "x"
set xrange [0:high = x_max + x_min]
axis = "x"; eval token_tics
set yrange [0:*]
set xlabel "query position, tokens"
set ylabel "kept blocks of the row"
set key title "method (density)"
# schedules often coincide: earlier ones are wider, so that they show behind later ones
plot for [i = 1:n_shown] data using "query":(of(slot[i], "kept_blocks")) \
         with lines linetype slot[i] linewidth 2 + 0.9 * (n_shown - i) title label[slot[i]]
