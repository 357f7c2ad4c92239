# Divergence of a model's next-token distributions against density:
# cd RUN_DIR/plots && gnuplot -c model_density.gp model_density svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_density.gp")]
across_is = "log"
up_is = "log"
across_title = "density: kept / all causal blocks"
up_title = "KL divergence, nats"
load here."panels.gp"
