# Error against budget at the longest length: cd RUN_DIR/plots && gnuplot -c error_flops.gp error_flops svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("error_flops.gp")]."style.gp"

stats data using (column("slot") < dense ? column("budget") : NaN) nooutput name "x"
stats data using (column("slot") < dense ? column("rel_l2") : NaN) nooutput name "y"
axis = "x"; low = x_min / 1.1; high = x_max * 1.1; eval log_axis
axis = "y"; low = y_min / 1.2; high = y_max * 1.2; eval log_axis
set xlabel "budget: FLOPs of select and attend / FLOPs of dense"
set ylabel "relative L2 error of the attention output"
plot data using "budget":(column("pareto") == 1 ? column("rel_l2") : NaN) smooth unique \
         with lines linewidth 9 linecolor rgb "#dddddd" title "Pareto front", \
     for [i = 1:n_shown] data using "budget":(of(slot[i], "rel_l2")) \
         with linespoints linetype slot[i] title label[slot[i]]
