# Divergence by position:
# cd RUN_DIR/plots && gnuplot -c model_position.gp model_position svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_position.gp")]
across_is = "share"
up_is = "log"
across_title = "position: share of those measured"
up_title = "KL divergence, nats"
without_bars = 1
load here."panels.gp"
