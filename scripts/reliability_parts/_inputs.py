"""Command lines of sparseift.train and what they must end in, by kind: `OVERRIDES => a part of the one line`, or
`OVERRIDES` alone if the run must succeed.
"""

from __future__ import annotations

CASES = {
    "an unknown option": """
+recipe.mixup=0.2 => there is no option 'recipe.mixup'; recipe has decay_norm_and_bias, epochs
++recipe.mixup=0.2 => there is no option 'recipe.mixup'
recipe.mixup=0.2 => there is no option 'recipe.mixup'
+compile=true => there is no option 'compile'
++compile=true => there is no option 'compile'
+seeds=1 => there is no option 'seeds'; did you mean seed?
+resum=auto => there is no option 'resum'; did you mean resume?
+recipe.deep.er=1 => there is no option 'recipe.deep'
+deep.er=1 => there is no option 'deep'
+deep={er:1} => there is no option 'deep'
+checkpoint.keep=3 => there is no option 'checkpoint.keep'
+sweep.parallel=3 => there is no option 'sweep.parallel'
+sparsity.levels=0.5 => there is no option 'sparsity.levels'; did you mean sparsity.level?
+sparsity.density=0.5 => there is no option 'sparsity.density'
+sparsity.distribution.power=2 => there is no option 'sparsity.distribution.power'
+dataset.train_images=5 => 'train_images'
+model.widen=2 => there is no option 'model.widen'; sparseift.models.resnet18_cifar takes base_width
+model.basewidth=2 => there is no option 'model.basewidth'; did you mean model.base_width?
+member.norm=true => there is no option 'member.norm'; sparseift.members.SparseWide takes rounding
+sparsifier.interval=5 => there is no option 'sparsifier.interval'; did you mean sparsifier.update_interval
+pattern.size=4 => there is no option 'pattern.size'; sparseift.masks.patterns.Unstructured takes no options
+backend.fast=true => there is no option 'backend.fast'
+task.classes=5 => there is no option 'task.classes'
+trainer.gpus=1 => there is no option 'trainer.gpus'
+trainer.limit_training_batches=1 => there is no option 'trainer.limit_training_batches'; did you mean
+recipe.optimizer.decay=1 => there is no option 'recipe.optimizer.decay'
+recipe.optimizer.betas=[0.9,0.99] => there is no option 'recipe.optimizer.betas'
+recipe.scheduler.gamma=0.1 => there is no option 'recipe.scheduler.gamma'
+callbacks.topology.layers=[] => there is no option 'callbacks.topology.layers'
+callbacks.learning_rate.every=1 => there is no option 'callbacks.learning_rate.every'
callbacks=[ema] +callbacks.ema.start=1 => there is no option 'callbacks.ema.start'
logger=[tensorboard] +logger.tensorboard.name=x => there is no option 'logger.tensorboard.name'
+hydra.fast=1 => there is no option 'hydra.fast'
hydra.fast=1 => there is no option 'hydra.fast'
+format=json => there is no option 'format'
zzz=1 => there is no option 'zzz'
+hydra.job.env_set.A=1
""",
    "an option of another choice": """
sparsifier=static +sparsifier.update_interval=50 => there is no option 'sparsifier.update_interval'
sparsifier=static sparsifier.update_interval=50 => there is no option 'sparsifier.update_interval'
sparsifier=none +sparsifier.update_interval=50 => there is no option 'sparsifier.update_interval'
sparsifier=snip +sparsifier.iterations=5 => there is no option 'sparsifier.iterations'; sparseift.sparsifiers.SNIP takes
sparsifier=dense_warmup +sparsifier.then.fast=5 => there is no option 'sparsifier.then.fast'
member=sparse_parallel +member.rounding=down => there is no option 'member.rounding'
member=dense +member.norm=true => there is no option 'member.norm'
pattern=n_of_m +pattern.size=4 => there is no option 'pattern.size'
model=mobilenet_v2_cifar ~model.base_width => 'model.base_width'
recipe=cifar +recipe.scheduler.epochs=3 => there is no option 'recipe.scheduler.epochs'
recipe.scheduler=null recipe.warmup_epochs=1 => recipe.warmup_epochs is 1; expected no value
recipe.optimizer._target_=torch.optim.AdamW => there is no option 'recipe.optimizer.momentum'
recipe.optimizer._target_=torch.optim.AdamW ~recipe.optimizer.momentum ~recipe.optimizer.nesterov
recipe.scheduler=null
+recipe.scheduler.gamma=1 => 'recipe.scheduler.gamma'
""",
    "an option that the program sets": """
+trainer.logger=true => trainer.logger is True; expected no value, because the program sets it
+trainer.callbacks=[] => trainer.callbacks is []; expected no value
+trainer.enable_model_summary=true => trainer.enable_model_summary is True; expected no value
+trainer.default_root_dir=x => trainer.default_root_dir is 'x'; expected no value
+trainer.num_sanity_val_steps=2 => trainer.num_sanity_val_steps is 2; expected no value
+recipe.optimizer.params=1 => recipe.optimizer.params is 1; expected no value
+recipe.scheduler.optimizer=1 => recipe.scheduler.optimizer is 1; expected no value
logger=[tensorboard] +logger.tensorboard.folder=x => logger.tensorboard.folder is 'x'; expected no value
""",
    "an option that others refer to": """
+width=4 model.base_width=${width}
+place=here hydra.run.dir=runs/${place}
+a.b=0.9 recipe.optimizer.momentum=${a.b}
model.base_width=${nothing} => nothing
seed=${seed} => Recursive interpolation detected
seed=${oc.env:NO_SUCH_VARIABLE} => NO_SUCH_VARIABLE
seed=${oc.env:NO_SUCH_VARIABLE,5} => seed is '5'; expected an integer
seed=${nonsense:1} => nonsense
""",
    "a deleted option": """
~seed => seed is missing
~export => export is missing
~checkpoint => checkpoint is missing
~checkpoint.test => checkpoint.test is missing
~sweep => sweep is missing
~sweep.resume => sweep.resume is missing
~recipe.optimizer => recipe.optimizer is missing
~recipe.optimizer._target_ => recipe.optimizer is {'_partial_': True
~recipe.optimizer._partial_ => recipe.optimizer.params is missing
~recipe.optimizer.lr
~recipe.scheduler => recipe.scheduler is missing
~recipe.scheduler.epochs => recipe.scheduler.epochs is missing
~recipe.scheduler._target_ => recipe.scheduler is {
~recipe.scheduler_interval => recipe.scheduler_interval is missing
~recipe.warmup_epochs => recipe.warmup_epochs is missing
~recipe.label_smoothing => recipe.label_smoothing is missing
~recipe.decay_norm_and_bias => recipe.decay_norm_and_bias is missing
~dataset.batch_size => 'batch_size'
~dataset.mean => 'mean'
~dataset.num_classes => dataset.num_classes is missing
~dataset._target_ => dataset is {
~model._target_ => model is {
~model.num_classes => model.num_classes is missing; expected a value, which sparseift.models.resnet18_cifar needs
~member => member is missing
~member.rounding
~member._target_ => member is {'rounding': 'nearest'}; expected a node with _target_
~sparsity => sparsity is missing
~sparsity.distribution => sparsity.distribution is None; expected a node
~sparsity.include => sparsity.include is missing
~sparsifier => sparsifier is missing
~sparsifier._target_ => sparsifier is {
~sparsifier.begin => sparsifier.begin is missing; expected a value, which sparseift.sparsifiers.RigL needs
~pattern => pattern is missing
~backend._target_ => backend is {
~task => task is missing
~task.channels => task.channels is missing
~trainer => trainer is missing
~trainer._target_ => trainer is {
~trainer.devices => trainer.devices is missing
~trainer.max_epochs => trainer.max_epochs is missing
~trainer.precision => trainer.precision is missing
~callbacks.topology
~callbacks.topology._target_ => callbacks.topology is {
~zzz => 'zzz' does not exist
~recipe.zzz => 'recipe.zzz' does not exist
""",
    "a choice": """
model=resnet19 => model is 'resnet19'; expected one of botnet26
model=null => model is null; expected one of
model=5 => model is 5; expected one of
model='' => model is ''; expected one of
model=[resnet18] => model is [resnet18]; expected one of
experiment=quickstart => experiment is 'quickstart'; expected one of cifar100/botnet26
experiment=null => experiment is null; expected one of
recipe={} => recipe is {}; expected one of
recipe=null => recipe is null; expected one of
dataset=mnist => dataset is 'mnist'; expected one of
member=wide => member is 'wide'; expected one of
sparsity=abc => sparsity is 'abc'; expected a number, or one of
sparsity={a:1} => sparsity is {a:1}; expected a number
sparsifier=null => sparsifier is null; expected one of
sparsifier@sparsifier.then=nonsense sparsifier=dense_warmup => sparsifier is 'nonsense'; expected one of
pattern=2of4 => pattern is '2of4'; expected one of
backend=sparse => backend is 'sparse'; expected one of masked
task=regression => task is 'regression'; expected one of classification
trainer=gpu => trainer is 'gpu'; expected one of
logger=[nonsense] => logger is 'nonsense'; expected one of
callbacks=[nonsense] => callbacks is 'nonsense'; expected one of
callbacks=5 => callbacks is 5; expected one of
+model=resnet18 => model
seed=1,2 => seed is 1,2; expected one value
sparsity=er
""",
    "a node": """
checkpoint=null => checkpoint is None; expected a node with every_n_steps, test
checkpoint=5 => checkpoint is 5; expected a node
checkpoint=[1] => checkpoint=[1]
sweep=null => sweep is None; expected a node
recipe.optimizer=null => recipe.optimizer is None; expected a node with _target_
recipe.optimizer=5 => recipe.optimizer is 5; expected a node
recipe.optimizer=sgd => recipe.optimizer is 'sgd'; expected a node
recipe.scheduler=5 => recipe.scheduler is 5; expected a node
recipe.scheduler=cosine => recipe.scheduler is 'cosine'; expected a node
sparsity.distribution=null => sparsity.distribution is None; expected a node
sparsity.distribution=erk => sparsity.distribution is 'erk'; expected a node
callbacks.topology=null => callbacks.topology is None; expected a node
callbacks.topology=5 => callbacks.topology is 5; expected a node
+callbacks.mine={a:1} => callbacks.mine is {'a': 1}; expected a node with _target_
+callbacks.mine=1 => callbacks.mine is 1; expected a node
logger=[tensorboard] logger.tensorboard=null => logger.tensorboard is None; expected a node
+logger.mine=1 => logger.mine is 1; expected a node
sparsifier=dense_warmup sparsifier.then=5 => sparsifier.then is 5; expected a sparsifier
""",
    "a target": """
model._target_=null => model._target_ is None; expected the dotted name of a class or function
model._target_=5 => model._target_ is 5; expected the dotted name
model._target_='' => model._target_ is ''; expected the dotted name
model._target_=torch.nn => model._target_ is 'torch.nn'; expected the dotted name
model._target_=nowhere.Net => No module named 'nowhere'
model._target_=torch.nn.NoSuchLayer => model._target_ is 'torch.nn.NoSuchLayer'; expected the dotted name
model._target_=torch.nn.ReLU => there is no option 'model.num_classes'; torch.nn.ReLU takes inplace
model={_target_:builtins.dict} => model is {_target_:builtins.dict}; expected one of
+model._partial_=true => model._target_ is 'sparseift.models.resnet18_cifar'; expected a target that returns a Module
member._target_=nowhere.Member => No module named 'nowhere'
member._target_=torch.nn.ReLU ~member.rounding => member
sparsity.distribution._target_=nowhere.ER => No module named 'nowhere'
sparsity.distribution._target_=torch.nn.ReLU => expected a target that returns a Distribution
sparsifier._target_=nowhere.RigL => No module named 'nowhere'
sparsifier._target_='' => sparsifier._target_ is ''; expected the dotted name
sparsifier=static sparsifier._target_=torch.nn.ReLU => expected a target that returns a Sparsifier
pattern._target_=nowhere.Pattern => No module named 'nowhere'
pattern._target_=torch.nn.ReLU => expected a target that returns a Pattern
backend._target_=nowhere.Backend => No module named 'nowhere'
backend._target_=torch.nn.ReLU => expected a target that returns a Backend
task._target_=nowhere.Task => No module named 'nowhere'
task._target_=torch.nn.ReLU => there is no option 'task.
dataset._target_=nowhere.Data => No module named 'nowhere'
dataset._target_=sparseift.data.images.digits => expected the dotted name of a class or function
trainer._target_=nowhere.Trainer => No module named 'nowhere'
recipe.optimizer._target_=nowhere.SGD => No module named 'nowhere'
recipe.optimizer._target_=null => recipe.optimizer._target_ is None; expected the dotted name
recipe.optimizer._target_=torch.optim => recipe.optimizer._target_ is 'torch.optim'; expected the dotted name
recipe.optimizer._target_=torch.nn.Linear => there is no option 'recipe.optimizer.lr'
recipe.optimizer._partial_=maybe => recipe.optimizer._partial_ is 'maybe'; expected true or false
recipe.optimizer._partial_=false => recipe.optimizer.params is missing
recipe.scheduler._target_=nowhere.x => No module named 'nowhere'
recipe.scheduler._target_=torch.optim.SGD => there is no option 'recipe.scheduler.epochs'
callbacks.topology._target_=nowhere.X => No module named 'nowhere'
callbacks.topology._target_=torch.nn.ReLU => expected a target that returns a Callback
logger=[tensorboard] logger.tensorboard._target_=torch.nn.ReLU => logger.tensorboard
""",
    "a value of the run": """
seed=null => seed is None; expected an integer from 0 to 4294967295
seed=nan => seed is nan; expected an integer
seed=-1 => seed is -1; expected an integer
seed=1.5 => seed is 1.5; expected an integer
seed=4294967296 => seed is 4294967296; expected an integer
seed=4294967295
seed='' => seed is ''; expected an integer
seed=[1] => seed is [1]; expected an integer
seed={a:1} => seed is {'a': 1}; expected an integer
seed=true => seed is True; expected an integer
resume=5 => resume is 5; expected 'auto', null
resume=[a] => resume is ['a']; expected 'auto', null
resume=nowhere => no checkpoint at nowhere
resume='' => no checkpoint at
resume=auto
export=maybe => export is 'maybe'; expected true or false
export=null => export is None; expected true or false
checkpoint.every_n_steps=0 => checkpoint.every_n_steps is 0; expected an integer >= 1
checkpoint.every_n_steps=nan => checkpoint.every_n_steps is nan; expected a finite number
checkpoint.every_n_steps=3
checkpoint.test=first => checkpoint.test is 'first'; expected one of last, best
checkpoint.test=null => checkpoint.test is None; expected one of last, best
checkpoint.test=best dataset.val_size=0 => dataset.val_size is 0; expected an integer >= 1
sweep.resume=1 => sweep.resume is 1; expected true or false
sweep.stop_on_failure=maybe => sweep.stop_on_failure is 'maybe'; expected true or false
""",
    "a value of the recipe": """
recipe.epochs=0 => recipe.epochs is 0; expected an integer >= 1
recipe.epochs=inf => recipe.epochs is inf; expected an integer >= 1
recipe.epochs=null => recipe.epochs is None; expected an integer >= 1
recipe.epochs=1e3 => recipe.epochs is 1000.0; expected an integer >= 1
recipe.warmup_epochs=-1 => recipe.warmup_epochs is -1
recipe.warmup_epochs=5 => recipe.warmup_epochs is 5
recipe.warmup_epochs=x => 'x'; expected an integer
recipe.label_smoothing=nan => recipe.label_smoothing is nan
recipe.label_smoothing=2 => recipe.label_smoothing is 2; expected a number in [0, 1]
recipe.label_smoothing=0.1
recipe.decay_norm_and_bias=maybe => recipe.decay_norm_and_bias is 'maybe'; expected true or false
recipe.decay_norm_and_bias=null => recipe.decay_norm_and_bias is None; expected true or false
recipe.optimizer.lr=nan => recipe.optimizer.lr is nan; expected a finite number
recipe.optimizer.lr=inf => recipe.optimizer.lr is inf; expected a finite number
recipe.optimizer.lr=-1 => Invalid learning rate: -1
recipe.optimizer.lr=null => recipe.optimizer.lr is None; expected a number
recipe.optimizer.lr='' => recipe.optimizer.lr is ''; expected a number
recipe.optimizer.lr=[0.1] => recipe.optimizer.lr is [0.1]; expected a number
recipe.optimizer.lr=true => recipe.optimizer.lr is True; expected a number
recipe.optimizer.lr=1
recipe.optimizer.momentum=nan => recipe.optimizer.momentum is nan; expected a finite number
recipe.optimizer.momentum=inf => recipe.optimizer.momentum is inf; expected a finite number
recipe.optimizer.momentum=null => recipe.optimizer.momentum is None; expected a number
recipe.optimizer.momentum=-1 => Invalid momentum value: -1
recipe.optimizer.weight_decay=nan => recipe.optimizer.weight_decay is nan; expected a finite number
recipe.optimizer.weight_decay=inf => recipe.optimizer.weight_decay is inf; expected a finite number
recipe.optimizer.weight_decay=x => recipe.optimizer.weight_decay is 'x'; expected a number
recipe.optimizer.nesterov=maybe => recipe.optimizer.nesterov is 'maybe'; expected true or false
recipe.optimizer.nesterov=null => recipe.optimizer.nesterov is None; expected true or false
recipe.optimizer.nesterov=[true] => recipe.optimizer.nesterov is [True]; expected true or false
recipe.optimizer.nesterov=false
+recipe.optimizer.foreach=maybe => recipe.optimizer.foreach is 'maybe'; expected true or false or null
+recipe.optimizer.dampening=0.5 => Nesterov momentum requires a momentum and zero dampening
recipe.scheduler.epochs=x => recipe.scheduler.epochs is 'x'; expected an integer
recipe.scheduler.epochs=nan => recipe.scheduler.epochs is nan
recipe=cifar recipe.scheduler.gamma=nan => recipe.scheduler.gamma is nan; expected a finite number
recipe=cifar recipe.scheduler.gamma=x => recipe.scheduler.gamma is 'x'; expected a number
recipe=cifar recipe.scheduler.milestones=5 => recipe.scheduler.milestones is 5; expected a list
recipe=cifar recipe.scheduler.milestones=[] => recipe.scheduler
recipe=cifar
recipe.scheduler_interval=week => recipe.scheduler_interval is 'week'; expected one of epoch, step
""",
    "a schedule of torch": """
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.ReduceLROnPlateau,_partial_:true}
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.ReduceLROnPlateau,_partial_:true} dataset.val_size=0
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.ReduceLROnPlateau,_partial_:true} recipe.scheduler_interval=step => recipe.scheduler_interval is 'step'; expected epoch
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.OneCycleLR,_partial_:true,max_lr:0.1,total_steps:10} recipe.scheduler_interval=step
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:1}
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.StepLR,_partial_:true} => recipe.scheduler.step_size is missing
~recipe.scheduler +recipe.scheduler={_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:a} => recipe.scheduler.step_size is 'a'; expected an integer
""",  # noqa: E501
    "a value of the data": """
dataset.batch_size=nan => dataset.batch_size is nan; expected an integer >= 1
dataset.batch_size=0 => dataset.batch_size is 0; expected an integer >= 1
dataset.batch_size=null => dataset.batch_size is None; expected an integer >= 1
dataset.batch_size=1239 => dataset.batch_size is 1239; expected an integer <= 1238
dataset.batch_size=1000000000000 => dataset.batch_size is 1000000000000; expected an integer <= 1238
dataset.batch_size=1238 sparsifier=static
dataset.val_size=-1 => dataset.val_size is -1; expected an integer >= 0
dataset.val_size=null => dataset.val_size is None; expected an integer >= 0
dataset.val_size=1438 => dataset.val_size is 1438; expected an integer from 0 to 1437
dataset.val_size=1437 => dataset.batch_size is 128; expected an integer <= 1
dataset.val_size=0
dataset.num_workers=-1 => dataset.num_workers is -1; expected an integer from 0 to
dataset.num_workers=100000 => dataset.num_workers is 100000; expected an integer from 0 to
dataset.num_workers=null => dataset.num_workers is None; expected an integer
dataset.seed=abc => dataset.seed is 'abc'; expected an integer
dataset.seed=null => dataset.seed is None; expected an integer
dataset.seed=7
dataset.split_seed=abc => dataset.split_seed is 'abc'; expected an integer
dataset.split_seed=null => dataset.split_seed is None; expected an integer
dataset.split_seed=nan => dataset.split_seed is nan
dataset.split_seed=99999999999999999999 => dataset.split_seed is 99999999999999999999; expected an integer
dataset.num_classes=5 => dataset.num_classes is 5; expected 10, as in the data
dataset.num_classes=100000000000 => dataset.num_classes is 100000000000; expected 10, as in the data
dataset.num_classes=nan => dataset.num_classes is nan; expected an integer >= 1
dataset.channels=null => dataset.channels is None; expected an integer >= 1
dataset.channels=3
dataset.image_size=9 => dataset.image_size is 9; expected 8, as in the data
dataset.mean=null => dataset.mean is None; expected a list
dataset.mean=[nan] => dataset.mean
dataset.mean=[inf] => dataset.mean is [inf]; expected a list of 1 finite numbers
dataset.mean=[0.1,0.2] => dataset.mean is [0.1, 0.2]; expected a list of 1
dataset.std=[inf] => dataset.std is [inf]; expected a list of 1 finite numbers
dataset.std=[nan] => dataset.std
dataset.std=[0] => dataset.std is [0]; expected a list of 1
dataset.std=[-1] => dataset.std is [-1]; expected a list of 1
dataset.std=[] => dataset.std is []; expected a list of 1
dataset.std=[true] => dataset.std is [True]; expected a list of 1
dataset.std=[0.1,0.2] => dataset.std is [0.1, 0.2]; expected a list of 1
dataset.crop_padding=100 => dataset.crop_padding is 100; expected an integer from 0 to 8
dataset.cutout=-1 => dataset.cutout is -1; expected an integer from 0 to 8
dataset.flip=maybe => dataset.flip is 'maybe'; expected true or false
dataset=synthetic dataset.train_images=0 => dataset.train_images is 0; expected an integer >= 1
dataset=synthetic dataset.train_images=abc => dataset.train_images is 'abc'; expected an integer
dataset=synthetic dataset.test_images=0 => dataset.test_images is 0; expected an integer >= 1
dataset=synthetic dataset.test_images=nan => dataset.test_images is nan
dataset=synthetic sparsifier=static
dataset=imagenet dataset.root=nowhere => nowhere
dataset=cifar10 dataset.download=false dataset.root=nowhere => nowhere
dataset=fashion_mnist dataset.root=nowhere => nowhere
""",
    "a value of the network": """
model.base_width=0 => model.base_width is 0; expected an integer >= 1
model.base_width=x => model.base_width is 'x'; expected an integer
model.base_width=1.5 => model.base_width is 1.5; expected an integer
model.zero_init_residual=maybe => model.zero_init_residual is 'maybe'; expected true or false
model.num_classes=5 => model.num_classes is 5; expected an integer >= dataset.num_classes, which is 10
model.num_classes=x => model.num_classes is 'x'; expected an integer
model.num_classes=20
model.in_channels=x => model.in_channels is 'x'; expected an integer
model.in_channels=3 => the network cannot run on an example
member.rounding=up => member.rounding is 'up'; expected one of nearest, down
member.rounding=null => member.rounding is None
member.rounding=down
member=sparse_parallel member.norm=maybe => member.norm is 'maybe'; expected true or false
member=sparse_parallel member.activation=null => member.activation is None; expected true or false
sparsity=0 => sparsity.level is 0; expected a number in (0, 1)
sparsity=1.5 => sparsity.level is 1.5; expected a number in (0, 1)
sparsity=nan => sparsity.level is nan; expected a number in (0, 1)
sparsity.level=null => sparsity.level is None; expected a number in (0, 1)
sparsity.level=[0.5] => sparsity.level is [0.5]; expected a number in (0, 1)
sparsity.level=1e-9 => sparsity is 1e-09; expected a number in steps of one millionth
sparsity.include=5 => sparsity.include is 5; expected a list
sparsity.include=[null] => sparsity.include is [None]; expected a list
sparsity.exclude=[nothing*] => sparsity.exclude is 'nothing*'; expected a name or glob that matches
sparsity.exclude=[layer1.0.conv1]
sparsity=erk sparsity.distribution.power=nan => sparsity.distribution.power is nan; expected a finite number
sparsity=erk sparsity.distribution.power=x => sparsity.distribution.power is 'x'; expected a number
sparsity=erk sparsity.distribution.power=1e9 => the relative density by ERK(power=1000000000.0) is 0.0
task.num_classes=5 => task.num_classes is 5; expected 10, which is dataset.num_classes
task.image_size=32 => task.image_size is 32; expected 8, which is dataset.image_size
task.label_smoothing=nan => task.label_smoothing is nan
""",
    "a value of the masks": """
sparsifier.update_interval=0 => sparsifier.update_interval is 0; expected an integer >= 1
sparsifier.update_interval=nan => sparsifier.update_interval is nan
sparsifier.update_interval=often => sparsifier.update_interval is 'often'
sparsifier.begin=-0.1 => (sparsifier.begin, sparsifier.end) is (-0.1, 0.75)
sparsifier.begin=0.8 => (sparsifier.begin, sparsifier.end) is (0.8, 0.75)
sparsifier.end=nan => sparsifier.end is nan; expected a finite number
sparsifier.end=null => sparsifier
sparsifier.drop_fraction=0 => sparsifier.drop_fraction is 0; expected a number in (0, 1]
sparsifier.drop_fraction=inf => sparsifier.drop_fraction is inf
sparsifier.anneal=cosin => sparsifier.anneal is 'cosin'; expected one of
sparsifier=gmp sparsifier.initial_density=2 => sparsifier.initial_density is 2
sparsifier=gmp sparsifier.initial_density=1e-5 => sparsifier.initial_density is 1e-05; expected a density >=
sparsifier=granet sparsifier.prune_end=2 => sparsifier.prune_end) is (0.0, 2)
sparsifier=snip sparsifier.batches=0 => sparsifier.batches is 0; expected an integer >= 1
sparsifier=grasp sparsifier.temperature=0 => sparsifier.temperature is 0; expected a number > 0
sparsifier=grasp sparsifier.temperature=x => sparsifier.temperature is 'x'; expected a number
sparsifier=grasp sparsifier.temperature=inf => sparsifier.temperature is inf; expected a finite number
sparsifier=force sparsifier.iterations=nan => sparsifier.iterations is nan
sparsifier=synflow sparsifier.iterations=x => sparsifier.iterations is 'x'; expected an integer
sparsifier=dense_warmup sparsifier.until=2 => sparsifier.until is 2
sparsifier=dense_warmup sparsifier@sparsifier.then=snip => sparsifier.then is 'SNIP'; expected a sparsifier
pattern=n_of_m pattern.m=0 => pattern.m is 0; expected an integer >= 2
pattern=n_of_m pattern.tolerance=nan => pattern.tolerance is nan
pattern=block pattern.size=x => pattern.size is 'x'; expected an integer
sparsifier=none pattern=block => pattern is 'block'; expected unstructured without masks
sparsifier=snip
""",
    "a value of the trainer": """
trainer.accelerator=gpu => trainer cannot be made: No supported gpu backend found!
trainer.accelerator=nonsense => You selected an invalid accelerator name
trainer.accelerator=5 => trainer.accelerator is 5; expected a string
trainer.devices=0 => trainer cannot be made: `Trainer(devices=0)` value is not a valid input
trainer.devices=nan => trainer.devices is nan
trainer.devices=true => trainer.devices is True; expected a list or a string or an integer
trainer.devices=1.5 => trainer.devices is 1.5; expected a list or a string or an integer
trainer.devices=1000 => trainer.devices is 1000; expected an integer from 1 to
trainer.num_nodes=0 => trainer.num_nodes is 0; expected an integer >= 1
trainer.strategy=nonsense => You selected an invalid strategy name
trainer.strategy=fsdp => requires a GPU accelerator
trainer.strategy=ddp_spawn => trainer.strategy is 'ddp_spawn'; expected a strategy that starts programs
trainer.sync_batchnorm=maybe => trainer.sync_batchnorm is 'maybe'; expected true or false
trainer.sync_batchnorm=true trainer.devices=2 trainer.strategy=ddp => trainer.sync_batchnorm is True; expected false on
trainer.precision=33 => trainer.precision is 33; expected null or one of 64, 32, 16, transformer-engine
trainer.precision=bf16-mixed
trainer.max_epochs=0 => trainer.max_epochs is 0; expected an integer >= 1
trainer.accumulate_grad_batches=0 => trainer.accumulate_grad_batches is 0; expected an integer >= 1
trainer.accumulate_grad_batches=11 => trainer.accumulate_grad_batches is 11; expected an integer <= 10
trainer.accumulate_grad_batches=10 sparsifier=static
+trainer.enable_checkpointing=true
+trainer.enable_checkpointing=false => trainer
trainer.gradient_clip_val=nan => trainer.gradient_clip_val is nan; expected a finite number
trainer.gradient_clip_val=inf => trainer.gradient_clip_val is inf; expected a finite number
trainer.gradient_clip_val=-1 => trainer.gradient_clip_val is -1; expected a number >= 0
trainer.gradient_clip_val=x => trainer.gradient_clip_val is 'x'; expected a number
trainer.gradient_clip_val=1
trainer.deterministic=maybe => trainer.deterministic is 'maybe'; expected true or false or null or one of warn
trainer.deterministic=true
trainer.log_every_n_steps=abc => trainer.log_every_n_steps is 'abc'; expected an integer
trainer.log_every_n_steps=nan => trainer.log_every_n_steps is nan
trainer.log_every_n_steps=-1 => trainer.log_every_n_steps is -1; expected an integer >= 0
+trainer.max_time=nonsense => is not a valid duration
+trainer.val_check_interval=0 => trainer.val_check_interval is 0; expected a number > 0
+trainer.check_val_every_n_epoch=0 => trainer.check_val_every_n_epoch is 0; expected an integer >= 1
+trainer.overfit_batches=nan => trainer.overfit_batches is nan; expected a finite number
+trainer.profiler=nonsense => `profiler`
+trainer.detect_anomaly=maybe => trainer.detect_anomaly is 'maybe'; expected true or false
+trainer.gradient_clip_algorithm=nonsense => nonsense
""",
    "a callback or logger": """
callbacks=[histograms] callbacks.histograms.layers=5 => callbacks.histograms.layers is 5
callbacks=[histograms] callbacks.histograms.every_n_steps=0 => callbacks.histograms.every_n_steps is 0
callbacks=[mask_pictures] callbacks.mask_pictures.side=0 => callbacks.mask_pictures.side is 0
callbacks=[spectral] callbacks.spectral.every_n_steps=nan => callbacks.spectral.every_n_steps is nan
callbacks=[ema] callbacks.ema.decay=x => callbacks.ema.decay is 'x'; expected a number
callbacks.learning_rate.logging_interval=week => callbacks.learning_rate.logging_interval is 'week'; expected
callbacks=[channels_last]
logger=[wandb] => logger=wandb needs the package wandb: pip install wandb
""",
    "a sweep": """
-m seed=glob(zzz*) => seed=glob(zzz*) has no values; a glob selects choices of a group
-m dataset.batch_size=glob(*) => dataset.batch_size=glob(*) has no values
-m member=glob(zzz*) => member is 'glob(zzz*)'; expected a glob that matches one of dense, sparse_doped
-m seed=range(3,1) => seed=range(3,1) has no values
-m seed=range(0,1,0) => seed=range(0,1,0) is no range
-m sparsity=range(0,1,0) => sparsity.level=range(0,1,0) is no range
-m seed=range(0,1,1e-30) => seed=range(0,1,1e-30) has more than 10000 values
-m seed=range(1000000000) => seed=range(1000000000) has more than 10000 values
-m seed=choice() => empty choice is not legal
-m seed=shuffle(range(3,1)) => has no values
-m seed=interval(1,2) => BasicSweeper does not support sweep type
-m sparsity=0.5,erk => mixes numbers and distributions
-m hydra/launcher=parallel hydra.launcher.n_jobs=0 => hydra.launcher.n_jobs is 0; expected an integer from 1 to
-m hydra/launcher=parallel hydra.launcher.n_jobs=x => hydra.launcher.n_jobs is 'x'; expected an integer from 1 to
-m hydra/launcher=parallel hydra.launcher.n_jobs=1000000 => hydra.launcher.n_jobs is 1000000; expected an integer
-m hydra/launcher=parallel hydra.launcher.batch_size=0 => hydra.launcher.batch_size is 0; expected an integer >= 1
-m hydra/launcher=nonsense => nonsense
hydra/launcher=parallel => hydra/launcher=parallel needs the option -m
-m --cfg job => --cfg prints the config of a single run
seed=range(3) => requires --multirun
-m member=glob(sparse_*el) sparsity=choice(0.5)
""",
    "a command line": """
seed => there is no option seed; expected NAME=VALUE
=3 => there is no option =3
--sparsity=0.9 => there is no option --sparsity=0.9; values are set without dashes
-x => there is no option -x
--cfg jobs => invalid choice: 'jobs'
--config-dir nowhere => --config-dir is 'nowhere'; expected a folder
seed={ => no viable alternative at input '{'
seed=[1 => no viable alternative at input '[1'
a.b.c=1 => there is no option 'a
model.x.y=1 => there is no option 'model.x
seed.x=1 => seed
@=1 => the choice of a group is not a name
seed=??? => seed
""",
}


def cases() -> list[tuple[str, str, str | None]]:
    """Return kind, overrides and the expected part of the line, None for success, of every case."""
    lines = [(kind, line) for kind, text in CASES.items() for line in text.strip().splitlines()]
    split = [(kind, *line.partition(" => ")) for kind, line in lines]
    return [(kind, overrides, expected or None) for kind, overrides, _, expected in split]
