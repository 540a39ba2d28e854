"""Schedule and runtime of every template: loops, hooks, logs."""

# Schedule. Lengths follow --epochs and the size of the data; the originals stopped their cosine after 12 epochs
# whatever --epochs said, and their warm-up could outlast the whole training of a small data set.
train_cfg = dict(type="ResumableTrainLoop", max_epochs=12, val_interval=1)
val_cfg = dict(type="ValLoopWithLoss")
test_cfg = dict(type="TestLoop")
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=250),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=True, begin=0, end=12, T_max=12,
         convert_to_iter_based=True),
]

# Runtime
default_scope = "mmdet"
default_hooks = dict(
    runtime_info=dict(type="RuntimeInfoHook"),
    timer=dict(type="IterTimerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="KeepLatestAndBest"),  # latest.pth, and best.pth by segm/AP
)
custom_hooks = [dict(type="ProgressHook"), dict(type="StopAtBadStep"), dict(type="FastSteps", precision="auto")]
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
               dist_cfg=dict(backend="nccl"))
visualizer = dict(
    type="Visualizer", vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")])
log_processor = dict(type="LogProcessor", window_size=20, by_epoch=True)
log_level = "INFO"
load_from = None
resume = False
