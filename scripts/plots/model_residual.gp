# Error of the residual stream after each layer:
# cd RUN_DIR/plots && gnuplot -c model_residual.gp model_residual svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_residual.gp")]
across_is = "whole"
up_is = "log"
across_title = "after layer"
up_title = "relative error of the residual"
without_bars = 1
load here."panels.gp"
