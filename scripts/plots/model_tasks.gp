# Log-probability of a task's answer, less that of dense attention:
# cd RUN_DIR/plots && gnuplot -c model_tasks.gp model_tasks svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_tasks.gp")]
across_is = "plain"
across_title = "mean answer log-probability, nats, less that of "
level = 0
load here."forest.gp"
