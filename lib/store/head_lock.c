/* Heads that are locked and unlocked: in one instant with what says why. */
#include "lib/store/catalog.h"
#include "lib/tree/freeze/freeze.h"

static int change_frozen(struct store *store, struct dataset *dataset, head_change_fn change, bool on)
{
	struct freeze *freeze;
	struct view *head;
	int result = views_head(store, dataset, &head);

	if (result < 0)
		return result;
	result = freeze_begin_held(&head, 1, &freeze);
	if (result == 0) {
		result = change(store, dataset, on);
		if (result == 0)
			view_set_locked(head, dataset_is_locked(dataset));
		freeze_end(freeze);
	}
	store_view_put(store, head);
	return result;
}

int head_change_lock(struct store *store, struct dataset *dataset, head_change_fn change, bool on, struct error *lost)
{
	struct store_hooks hooks = store_get_hooks(store);
	const uint32_t view = dataset->record.view;
	int result = 0;

	if (hooks.freeze)
		result = hooks.freeze(hooks.arg, &view, 1, false, lost);
	if (result < 0)
		return result;
	result = change_frozen(store, dataset, change, on);
	if (hooks.thaw)
		hooks.thaw(hooks.arg, &view, 1);
	return result;
}
