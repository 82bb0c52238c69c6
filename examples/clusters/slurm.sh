#!/usr/bin/env bash
# Trains on two hosts of eight cards under Slurm: sbatch examples/clusters/slurm.sh, from the checkout.
# Not yet run on a cluster: partition, account and how cards are asked for differ from one to the next.
#SBATCH --job-name=pose
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --gres=npu:8
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --output=pose-%j.log
# Time to save before the limit, and to requeue: the run continues by train.resume=auto.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Several jobs may share a host that is not exclusive.
MASTER_PORT=$((20000 + 2 * (SLURM_JOB_ID % 10000)))
NNODES=$SLURM_JOB_NUM_NODES
export MASTER_ADDR MASTER_PORT NNODES

# One task a host; srun gives each its number. --kill-on-bad-exit: what the launchers themselves cannot end, Slurm does.
srun --kill-on-bad-exit=1 bash -c '
    NODE_RANK=$SLURM_NODEID exec bash scripts/run_distribute_train.sh \
        configs/simplepose_r50_256x192.yaml 8 --restarts 3 --fg train.resume=auto \
        data.root=data/coco "output=outputs/job_$SLURM_JOB_ID"'
