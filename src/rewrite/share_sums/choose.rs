//! Which sums to rewrite: a family whose members need fewer shared sums than it has members.

use super::form::Forms;
use crate::ir::NodeId;

/// The sums to rewrite, ascending.
///
/// A sum that alone needs some shared sum gains nothing: as it stands it costs one. Such sums drop out until none is
/// left, which loses no gain; of the rest, each family that is connected by common needs is worth it or not. A sum that
/// only becomes one of fewer elements is always worth it.
pub(super) fn choose(forms: &Forms) -> Vec<NodeId> {
    let needs: Vec<(NodeId, Vec<usize>)> = forms
        .iter()
        .map(|(id, form)| {
            let mut needs: Vec<usize> = form.iter().flat_map(|term| term.sums()).collect();
            needs.sort_unstable();
            needs.dedup();
            (id, needs)
        })
        .collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); forms.shared_count()];
    for (member, (_, needs)) in needs.iter().enumerate() {
        needs.iter().for_each(|&shared| users[shared].push(member));
    }
    let shrinks = |member: usize| needs[member].1.len() == 1 && forms.is_smaller(needs[member].0);
    let mut counts: Vec<usize> = users.iter().map(Vec::len).collect();
    let mut stays = vec![true; needs.len()];
    let mut lonely: Vec<usize> = (0..counts.len()).filter(|&shared| counts[shared] == 1).collect();
    while let Some(shared) = lonely.pop() {
        let Some(&member) = users[shared].iter().find(|&&member| stays[member]) else { continue };
        if shrinks(member) {
            continue;
        }
        stays[member] = false;
        for &shared in &needs[member].1 {
            counts[shared] -= 1;
            if counts[shared] == 1 {
                lonely.push(shared);
            }
        }
    }
    let mut families = Families((0..needs.len()).collect());
    for users in &users {
        let mut members = users.iter().copied().filter(|&member| stays[member]);
        if let Some(first) = members.next() {
            members.for_each(|member| families.join(first, member));
        }
    }
    let mut gain = vec![0isize; needs.len()];
    for member in (0..needs.len()).filter(|&member| stays[member]) {
        gain[families.find(member)] += 1;
    }
    for users in &users {
        if let Some(&member) = users.iter().find(|&&member| stays[member]) {
            gain[families.find(member)] -= 1;
        }
    }
    let mut worth = |member: &usize| stays[*member] && (gain[families.find(*member)] > 0 || shrinks(*member));
    let mut chosen: Vec<NodeId> =
        (0..needs.len()).filter(|member| worth(member)).map(|member| needs[member].0).collect();
    chosen.sort_unstable();
    chosen
}

/// Disjoint sets, each named by its smallest member.
struct Families(Vec<usize>);

impl Families {
    fn find(&mut self, member: usize) -> usize {
        let mut root = member;
        while self.0[root] != root {
            self.0[root] = self.0[self.0[root]];
            root = self.0[root];
        }
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.0[high] = low;
    }
}
