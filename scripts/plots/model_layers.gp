# Divergence with one layer, or one head of every layer, sparse:
# cd RUN_DIR/plots && gnuplot -c model_layers.gp model_layers svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_layers.gp")]
across_is = "whole"
up_is = "log"
across_title = "layer or head that is sparse"
up_title = "KL divergence, nats"
load here."panels.gp"
